"""Tests of the ways to run generations."""
