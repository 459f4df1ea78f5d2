"""Tests of the agreement of workers."""
