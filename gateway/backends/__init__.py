"""The ways to run a generation of a site."""
