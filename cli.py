"""A short door for a checkout: ``python cli.py audit`` is ``journal audit``."""

from journal.cli import main

if __name__ == "__main__":
    main()
