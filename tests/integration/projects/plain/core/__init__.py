"""A project without a framework, which checks nothing, for tests of what is checked for it."""
