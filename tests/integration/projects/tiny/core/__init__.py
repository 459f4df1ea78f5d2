"""A project of one page."""
