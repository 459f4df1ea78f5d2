"""Run many Django projects from one process, routed by host name."""

__version__ = "0.1.0"
