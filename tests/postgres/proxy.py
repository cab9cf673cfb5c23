"""A wire between a client and the server that can be counted, and cut at the worst moment."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes bytes on; ``cut`` says what becomes of the next that the client sends.

    Attributes:
        trips: how often a client has sent something and the server answered.
        cut: "request": it never comes to the server; "answer": it does, and the answer goes
            nowhere; "both": the client is cut off at once, and the server sees it later;
            None: all is well.
        kept: the server's ends of the wires that were cut for the client alone.

    """

    def __init__(self, port: int) -> None:
        self.trips = 0
        self.cut: str | None = None
        self.kept: list[socket.socket] = []
        self._to = port
        self._deaf: list[socket.socket] = []
        self._asked: dict[socket.socket, int] = {}
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more clients."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes who waits for one
        self._listening.close()
        for each in self.kept:
            each.close()

    def url(self, url: str) -> str:
        return url.replace(f":{self._to}/", f":{self.port}/")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            _end(client)  # as if it were the server's own refusal
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._back, args=(client, server), daemon=True).start()
        self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 20):
                self._asked[client] = 1
                how, self.cut = self.cut, None
                if how == "request":
                    break
                if how == "answer":
                    self._deaf.append(client)
                server.sendall(data)
                if how == "both":
                    self.kept.append(server)
                    _end(client)
                    return
        _end(server)
        _end(client)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 20):
                if client in self._deaf:
                    _end(server)
                    break
                self.trips += self._asked.pop(client, 0)
                client.sendall(data)
        _end(client)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
