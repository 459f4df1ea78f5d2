"""Tests of the whole gateway: real servers, real sites, HTTP from outside."""
