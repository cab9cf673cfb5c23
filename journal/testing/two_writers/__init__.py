r"""What happens to a session when two write to it: a suite for any store, ours or another's.

Stores of sessions come with suites that one process passes by itself. This one puts two
real processes on one session, and tells what became of what they were told was kept.

To score a store, write a factory: it is called in each process with an empty directory
that both share, and returns a :class:`Writer`, that process's way into the one session.

>>> class Flat:                                     # a store that is a file of lines
...     def __init__(self, place):
...         self.path = place / "session.txt"
...     def read(self):
...         return self.path.read_text().splitlines() if self.path.exists() else []
...     def add(self, text):
...         with self.path.open("a") as file:
...             file.write(text + "\n")
...     def close(self):
...         pass

    python -m journal.testing.two_writers mystores:Flat

Or from a test: ``assert score("mystores:Flat").is_full``.
"""

from journal.testing.two_writers.scoring import Score, score
from journal.testing.two_writers.trials import TRIALS, Result, Trial
from journal.testing.two_writers.writer import Writer

__all__ = ["TRIALS", "Result", "Score", "Trial", "Writer", "score"]
