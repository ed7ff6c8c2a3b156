"""A TCP proxy that holds connections up: for slow networks, and for answers that come late."""

import random
import socket
import threading


class StallProxy:
    """proxy = StallProxy(5432); proxy.port

    proxy.hold()                 nothing passes any more, in either direction; proxy.let_go() ends it
    proxy.stall(chance, longest_s)      what the server sends waits, with that chance a piece, up to that long
    StallProxy(5432, slow=lambda first: b"replication" not in first)      only for connections that begin so
    proxy.cut()                  every connection is closed;  proxy.close()
    """

    def __init__(self, port, host="127.0.0.1", seed=None, slow=None):
        self._target = (host, port)
        self._is_slow = slow or (lambda first: True)
        self._dice = random.Random(seed)
        self._open = threading.Event()
        self._open.set()
        self._closing = threading.Event()
        self._chance, self._longest_s = 0.0, 0.0
        self._connections = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self):
        self._open.clear()

    def let_go(self):
        self._open.set()

    def stall(self, chance, longest_s):
        self._chance, self._longest_s = chance, longest_s

    def cut(self):
        for one in list(self._connections):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._closing.set()
        self._open.set()
        # A thread that is in accept() keeps a listener that is merely closed alive.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self):
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 10)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections |= {client, server}
            first = []
            for source, sink, back in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, first, back), daemon=True).start()

    def _pump(self, source, sink, first, back):
        """`first`: the client's first bytes, once they have come; `back`: from the server to the client."""
        slow = None
        try:
            while data := source.recv(1 << 16):
                if not first:
                    first.append(data)
                slow = self._is_slow(first[0]) if slow is None else slow
                if back and slow and self._dice.random() < self._chance:
                    self._closing.wait(self._dice.random() * self._longest_s)
                self._open.wait()
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._connections.discard(one)
