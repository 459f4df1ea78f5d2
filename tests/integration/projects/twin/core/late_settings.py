"""Imported late."""

MARKER = "@MARKER@"
