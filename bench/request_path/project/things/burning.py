"""Work that takes the same number of steps wherever it runs, so that servers can be compared."""


def burn(steps: int) -> int:
    """Compute, holding the GIL."""
    value = 1
    for _ in range(steps):
        value = (value * 1103515245 + 12345) & 0x7FFFFFFF
    return value
