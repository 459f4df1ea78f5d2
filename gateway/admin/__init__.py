"""The endpoints for operators and tools: health, reload, and the page that lists the sites."""
