"""What keeps a test from waiting for ever, and the places it may not find everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Turn a loop without an end into a failure; nothing is measured."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """Mount a disk of a size at a directory, or skip where that is not allowed."""
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(where)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@contextmanager
def nothing_may_be_written(directory: Path) -> Iterator[None]:
    """Take the right to write from a directory; from root too, by a mount, or skip."""
    if os.getuid() != 0:
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    for command in (["mount", "--bind"], ["mount", "-o", "remount,bind,ro"]):
        paths = [str(directory)] * (2 if command[-1] == "--bind" else 1)
        if subprocess.run([*command, *paths], capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody whom a directory's mode concerns: it is of none to root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
