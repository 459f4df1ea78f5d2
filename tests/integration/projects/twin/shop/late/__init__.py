"""Modules that are imported while requests are answered. ``part.py`` gets many copies."""
