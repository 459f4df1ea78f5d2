"""A REST API on PostgreSQL."""
