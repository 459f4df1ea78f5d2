"""Agreement between the worker processes of one gateway, and its history."""

from gateway.control.control import Control, Round
from gateway.control.identity import Identity
from gateway.control.journal import Journal

__all__ = ["Control", "Identity", "Journal", "Round"]
