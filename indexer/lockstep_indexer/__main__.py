"""`python -m lockstep_indexer` is the command `lockstep`."""

import sys

from lockstep_indexer.cli import main

if __name__ == "__main__":
    sys.exit(main())
