"""Tests of ``gateway.checks``."""
