"""``python -m journal.testing.two_writers STORE…``: score stores, and print the table."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout

from journal.errors import JournalError
from journal.testing.two_writers.scoring import score, table
from journal.testing.two_writers.trials import TRIALS


def main() -> int:
    """Score what is named; exit 3 where one did not pass everything."""
    parser = argparse.ArgumentParser(
        prog="python -m journal.testing.two_writers",
        description="Put session stores through what two writers do to each other.",
        epilog="example: python -m journal.testing.two_writers journal.testing.stores:adk_ours",
    )
    parser.add_argument("store", nargs="+", help="a factory, as module:attribute")
    names = [trial.name for trial in TRIALS]
    parser.add_argument("--trial", action="append", choices=names, help="only this one")
    parser.add_argument("--json", action="store_true", help="print one document")
    given = parser.parse_args()
    try:
        wanted = given.trial or names
        trials = [trial for trial in TRIALS if trial.name in wanted]
        with redirect_stdout(sys.stderr):  # what a store prints does not belong to the document
            scores = [score(store, trials) for store in given.store]
    except JournalError as error:
        sys.stderr.write(f"Error: {error}\nTry: {error.hint}\n")
        return error.exit_code
    if given.json:
        document = {
            "schema": "journal.two-writers/1",
            "scores": [each.as_json() for each in scores],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in table(scores))
    return 0 if all(each.is_full for each in scores) else 3


if __name__ == "__main__":
    sys.exit(main())
