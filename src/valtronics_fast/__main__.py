"""`python -m valtronics_fast` is the command `valtronics-fast`."""

import sys

from valtronics_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
