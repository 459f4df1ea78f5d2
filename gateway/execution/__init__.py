"""The passage of a request through the code of a site: when it runs, where, and back."""
