"""Upkeep beside the requests: changed files, changed code, and idle sites."""
