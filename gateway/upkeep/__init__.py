"""What goes on beside the requests: changed files, changed code, sites that nobody uses."""
