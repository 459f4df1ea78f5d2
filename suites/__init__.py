"""Long runs that ``make test`` leaves out: each has a target of its own in the Makefile.

Only the quick tests of what they are made of, and a part of Django's suite, run with ``make test``.
"""
