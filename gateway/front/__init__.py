"""What every request passes before a site: its head, the proxies before us, our own pages."""
