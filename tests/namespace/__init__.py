"""One file for each import semantic; each case runs under plain Python and in a namespace."""
