"""The execution of requests: when the code of a site runs, on which thread, and how it answers."""
