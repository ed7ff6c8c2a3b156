"""A TCP proxy before PostgreSQL that acts at a word of what a client sends: answers held back, or the connection cut."""

import socket
import threading


class PgProxy:
    """proxy = PgProxy(server);  f = freshet_on(proxy.url(db))

    caught = proxy.hold(b"COMMIT")     the next connection that sends it: its answers wait for caught.release()
    caught = proxy.cut(b"COMMIT")      ... is cut once the server has answered, which the client does not see
    caught = proxy.swallow(b"COMMIT")  ... is cut, and the server never gets what holds the word
    caught.wait()                      until it was sent (and, of a cut, answered)
    """

    def __init__(self, server):
        self._port = server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._trap = None
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, db, user="postgres"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{db.name}"

    def hold(self, word):
        return self._arm(word, "hold")

    def cut(self, word):
        return self._arm(word, "cut")

    def swallow(self, word):
        return self._arm(word, "swallow")

    def _arm(self, word, action):
        with self._lock:
            self._trap = Trap(word, action)
            return self._trap

    def _spring(self, data):
        with self._lock:
            trap = self._trap
            if trap is None or trap.word not in data:
                return None
            self._trap = None
            return trap

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(each)
            pair = Pair(self, client, server)
            threading.Thread(target=pair.upstream, daemon=True).start()
            threading.Thread(target=pair.downstream, daemon=True).start()

    def close(self):
        self._listener.close()
        for each in self._sockets:
            _end(each)


class Trap:
    def __init__(self, word, action):
        self.word, self.action = word, action
        self._caught, self._released = threading.Event(), threading.Event()

    def wait(self, timeout=15):
        assert self._caught.wait(timeout), f"nobody sent {self.word!r}"
        return self

    def release(self):
        self._released.set()


class Pair:
    def __init__(self, proxy, client, server):
        self._proxy, self._client, self._server = proxy, client, server
        self._trap = None

    def upstream(self):
        while data := _receive(self._client):
            trap = self._proxy._spring(data)
            if trap and trap.action == "swallow":
                self._end()
                trap._caught.set()
                return
            self._trap = trap or self._trap
            if trap and trap.action == "hold":
                trap._caught.set()
            if not _send(self._server, data):
                break
        self._end()

    def downstream(self):
        while data := _receive(self._server):
            trap = self._trap
            if trap and trap.action == "cut":
                self._end()
                trap._caught.set()
                return
            if trap and trap.action == "hold":
                trap._released.wait()
            if not _send(self._client, data):
                break
        self._end()

    def _end(self):
        _end(self._client)
        _end(self._server)


def _receive(one):
    try:
        return one.recv(65536)
    except OSError:
        return b""


def _send(one, data):
    try:
        one.sendall(data)
        return True
    except OSError:
        return False


def _end(one):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
