"""One of two projects whose modules all have the same names.

``@MARKER@`` becomes the name of the project when it is copied: in every module, so that a module
of the other project gives itself away.
"""

MARKER = "@MARKER@"
