"""A server for all tests of one run, and a schema in it for each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.copying.conftest import kept, large_source, source, target  # noqa: F401 - fixtures
from tests.postgres.proxy import Proxy
from tests.postgres.server import NoServerError, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    try:
        server = Server()
    except NoServerError as error:
        pytest.skip(str(error))
    yield server
    server.remove()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Something between a journal and the server, which can be cut."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def journal_path(server: Server) -> str:
    """Where a journal is: here it is a URL."""
    return server.url(f"journal_{next(_numbers)}")
