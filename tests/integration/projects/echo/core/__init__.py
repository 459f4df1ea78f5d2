"""A project that says what it was asked, for tests of the way that a request takes."""
