"""``python -m l2l_ref``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
