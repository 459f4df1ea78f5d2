"""Agreement between the worker processes of one gateway, and its history."""

from gateway.cluster.control import Control, Round
from gateway.cluster.identity import Identity
from gateway.cluster.journal import Journal

__all__ = ["Control", "Identity", "Journal", "Round"]
