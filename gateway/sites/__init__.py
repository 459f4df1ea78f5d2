"""The sites: which there are, how they are reloaded, the life of each, and who is let in."""
