"""The way of a request before it reaches a site: its head, the proxies, and our own pages."""
