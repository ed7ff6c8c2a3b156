"""A proxy of a broker that knows just enough of its protocol to refuse a request."""

import socket
import struct
import threading

PRODUCE = 0
NOT_LEADER = 6  # retriable: the client sends the records again


def exactly(connection, n):
    data = b""
    while len(data) < n:
        more = connection.recv(n - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def frame(connection):
    size = exactly(connection, 4)
    return size + exactly(connection, struct.unpack(">i", size)[0])


class KafkaProxy:
    """proxy = KafkaProxy(); broker = make_kafka(advertised__listeners=f"PLAINTEXT://127.0.0.1:{proxy.port}")
    proxy.broker = broker.port

    proxy.refuse_first(topic)    the topic's first request of records is refused, once its second is under way, as by a broker
                                 where the topic is not quite there when the first comes
    proxy.requests               requests of that topic's records that were passed on since
    proxy.refused                a threading.Event
    proxy.close()
    """

    def __init__(self):
        self.broker = None
        self.requests = 0
        self.refused = threading.Event()
        self._topic = None
        self._held = None  # the first request, while the second has not come
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse_first(self, topic):
        self._topic = topic.encode()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.broker))
            except (OSError, TypeError):  # closed; or the broker's own, before its port is known
                if self._listener.fileno() < 0:
                    return
                client.close()
                continue
            lock = threading.Lock()
            threading.Thread(target=self._requests, args=(client, server, lock), daemon=True).start()
            threading.Thread(target=self._answers, args=(client, server, lock), daemon=True).start()

    def _requests(self, client, server, lock):
        try:
            while True:
                request = frame(client)
                if self._keeps(request, client, lock):
                    continue
                server.sendall(request)
        except OSError:
            server.close()

    def _answers(self, client, server, lock):
        try:
            while True:
                answer = frame(server)
                with lock:
                    client.sendall(answer)
        except OSError:
            client.close()

    def _keeps(self, request, client, lock):
        """Is it the request that is not passed on?"""
        kind, version, number = struct.unpack_from(">hhi", request, 4)
        topic = self._topic
        if kind != PRODUCE or not topic or struct.pack(">h", len(topic)) + topic not in request[:500]:
            return False
        if not self.refused.is_set() and self._held is None:
            assert 5 <= version <= 7, version  # of the answer's form
            self._held = number
            return True
        if not self.refused.is_set():
            body = struct.pack(">ii", self._held, 1) + struct.pack(">h", len(topic)) + topic
            body += struct.pack(">iihqqqi", 1, 0, NOT_LEADER, -1, -1, -1, 0)
            with lock:
                client.sendall(struct.pack(">i", len(body)) + body)
            self.refused.set()
        self.requests += 1
        return False
