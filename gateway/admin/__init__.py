"""What operators and tools talk to: health, reload and the page that lists the sites."""
