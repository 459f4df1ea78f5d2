"""Files that people name, and the folder in which the gateway keeps its own state."""
