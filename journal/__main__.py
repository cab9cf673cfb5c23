"""``python -m journal`` is ``journal``."""

from journal.cli import main

if __name__ == "__main__":
    main()
