"""``python -m gateway``: the command line, see ``gateway.cli``."""

import sys

from gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
