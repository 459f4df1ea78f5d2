"""The agreement between the worker processes of one gateway, and its history."""

from gateway.cluster.control import Control, Round
from gateway.cluster.history import History
from gateway.cluster.identity import Identity
from gateway.cluster.loads import Loads

__all__ = ["Control", "History", "Identity", "Loads", "Round"]
