"""Django's own test suite, run under plain Python and in a namespace, outcome by outcome."""
