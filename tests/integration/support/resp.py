"""Bare RESP over a socket: what was sent and what came back, byte for byte."""

import socket
import time

from .waiting import PATIENCE


def command(*words):
    """A multibulk request."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Wire:
    """One connection.

        wire = Wire(port);  wire.send(b"PING\r\n");  wire.expect(b"+PONG\r\n");  wire.read_to_end()
    """

    def __init__(self, port, timeout=10, receive_buffer=None):
        self.socket = socket.socket()
        self._came = bytearray()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout * PATIENCE)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def call(self, *words):
        self.send(command(*words))
        return self.line()

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        part = self.socket.recv(1 << 16)
        self._came += part
        return part

    def read(self, n):
        while len(self._came) < n:
            assert self._more(), f"closed after {bytes(self._came[-200:])!r}"
        data = bytes(self._came[:n])
        del self._came[:n]
        return data

    def line(self):
        while (end := self._came.find(b"\r\n")) < 0:
            assert self._more(), f"closed after {bytes(self._came[-200:])!r}"
        return self.read(end + 2)[:-2]

    def bulk(self):
        header = self.line()
        assert header.startswith(b"$"), header
        return self.read(int(header[1:]) + 2)[:-2]

    def expect(self, data):
        assert self.read(len(data)) == data

    def read_to_end(self):
        """Until the server closes, or resets."""
        try:
            while self._more():
                pass
        except ConnectionResetError:
            pass
        return bytes(self._came)

    def is_closed(self):
        """True once the server has closed, with nothing more to read."""
        self.socket.settimeout(0.01)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True


def exchange(port, data, pause=False):
    """Sends all of it (byte by byte with `pause`), half-closes, and returns every reply."""
    with Wire(port) as wire:
        try:
            if pause:
                wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for i in range(len(data)):
                    wire.send(data[i : i + 1])
                    time.sleep(0)
            else:
                wire.send(data)
            wire.half_close()
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass  # it has closed already: what it said before is still there
        return wire.read_to_end()
