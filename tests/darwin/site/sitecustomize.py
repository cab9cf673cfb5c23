"""Found on its path by every Python that a test of macOS starts, and by those that these start."""

from tests.darwin import emulation

emulation.install()
