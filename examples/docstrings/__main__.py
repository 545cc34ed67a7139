"""`python -m examples.docstrings`: the main job on real text. See `run.py`."""

import sys

from examples.docstrings.run import main

if __name__ == "__main__":
    sys.exit(main())
