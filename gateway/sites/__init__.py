"""The sites: which there are, the life of each, who is let in, and what is said of it."""
