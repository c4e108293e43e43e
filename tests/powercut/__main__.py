"""`python -m tests.powercut --kills 300 --seed 1`."""

import sys

from tests.powercut.harness import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
