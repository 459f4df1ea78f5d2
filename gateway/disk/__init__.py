"""Files: those that people name, and the folder of what the gateway remembers."""
