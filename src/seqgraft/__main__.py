"""`python -m seqgraft`."""

from seqgraft.cli import main

if __name__ == "__main__":
    main()
