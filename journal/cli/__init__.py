"""The command line: ``journal``.

Each command is one module, imported when it is called; the library below is
imported when a command has something to do.
"""

from __future__ import annotations

import signal
from typing import Final

from journal.cli.frame import Commands

# The help of each command stands here too, so that `journal --help` imports none of them.
COMMANDS: Final = {
    "init": "Make a new journal and its key.",
    "status": "Show what the journal is, and what about it is unsafe.",
    "doctor": "Tell the facts of this machine and journal, each with what to do next.",
    "sessions": "List the sessions.",
    "log": "List a session's entries, each with its writer.",
    "show": "Show one entry whole.",
    "append": "Write lines to a session.",
    "submit": "Say something to a session while a run has the turn.",
    "fence": "Raise a fence in a session, or check one.",
    "claim": "Show who holds a session, take it, take its inputs, or let it go.",
    "parked": "List, show, apply and discard writes that were refused.",
    "resolve": "Accept or reject entries that came from outside.",
    "writers": "List, add and revoke writers.",
    "mirror": "Keep a session's file alive, and see what reaches it from outside.",
    "watch": "Take in what a program writes to its session files, as it happens.",
    "export": "Give sessions back as the files they are, byte for byte.",
    "migrate": "Bring flat session files into the journal.",
    "audit": "Check every rule and name what broke it; change nothing.",
    "redact": "Erase lines for good, and record that it was done.",
    "forget": "Erase every line of a session for good; that it was there stays on record.",
    "anchor": "Sign a statement of where every session ends now.",
    "why": "Explain a takeover, a refusal, a parked write or a supersession.",
    "who": "Show who wrote what in a session, for whom, and whether it is allowed.",
    "key": "Show where the journal's key is, move it to another machine, or begin a new one.",
    "backup": "Copy the journal to a new file, while others write to it, and audit the copy.",
    "restore": "Put a backup in the journal's place.",
    "copy": "Copy the whole journal between a file and a server, either way, and audit the copy.",
    "upgrade": "Compare the schema with this version's, and mend it.",
    "demo": "Play a takeover from beginning to end, in a directory of its own.",
}

cli = Commands("journal", COMMANDS)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        cli.main(prog_name="journal")
    finally:
        # All is done and told. While Python takes itself down it has no words for a Ctrl-C any
        # more: that would end it as interrupted, without one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
