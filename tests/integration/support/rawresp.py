"""A RESP connection that shows replies as they came: text is not decoded, and types stay apart.

    raw = RawResp(port, protocol=3)
    raw.call("SET", "k", b"\\x00")                 a reply
    raw.calls([["GET", "a"], ["GET", "b"]])        a pipeline: a list of replies

Replies: bytes (bulk), Simple("OK"), Error("ERR ..."), int, float, bool, None, list, Map([(k, v), ...]), Set([...]),
Verbatim("txt", b"...").
"""

import socket
from dataclasses import dataclass

from .waiting import PATIENCE


@dataclass(frozen=True)
class Simple:
    text: str


@dataclass(frozen=True)
class Error:
    text: str


@dataclass(frozen=True)
class Verbatim:
    format: str
    data: bytes


class Map(list):
    """Pairs in the order of the reply."""


class Set(list):
    pass


def encode(*args):
    words = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class RawResp:
    def __init__(self, port, protocol=2, host="127.0.0.1"):
        self._socket = socket.create_connection((host, port), timeout=20 * PATIENCE)
        self._stream = self._socket.makefile("rb", buffering=1 << 16)
        if protocol == 3:
            self.call("HELLO", 3)

    def close(self):
        self._stream.close()
        self._socket.close()

    def send(self, *args):
        """Without waiting for its reply: read() it later."""
        self._socket.sendall(encode(*args))

    def call(self, *args):
        return self.calls([args])[0]

    def calls(self, commands):
        self._socket.sendall(b"".join(encode(*command) for command in commands))
        return [self.read() for _ in commands]

    def read(self):
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-":
            return (Simple if kind == b"+" else Error)(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind == b"_" or rest == b"-1":
            return None
        if kind in b"$=":
            data = self._stream.read(int(rest) + 2)[:-2]
            return data if kind == b"$" else Verbatim(data[:3].decode(), data[4:])
        if kind == b"%":
            return Map((self.read(), self.read()) for _ in range(int(rest)))
        items = [self.read() for _ in range(int(rest))]
        return Set(items) if kind == b"~" else items
