"""The only app."""

MARKER = "@MARKER@"
