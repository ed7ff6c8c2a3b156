"""A redis-server of a test's own, that can be killed and comes back on the same port."""

import redis

from .process import Process, free_port


class RedisServer:
    """server = RedisServer(workshop, "--appendonly", "yes"); server.client; server.url

    server.kill9(), server.start()      with what the options made it keep on disk
    """

    def __init__(self, workshop, *options, port=None, scheme="redis", **client):
        self.workshop = workshop
        self.port = port or free_port()
        self.folder = workshop.make_folder("redis-own")
        self.options = options
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.client = redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, **client)
        self.start()

    def start(self):
        port = ["--port", 0, "--tls-port", self.port] if self.url.startswith("rediss") else ["--port", self.port]
        self.process = Process(
            self.workshop, ["redis-server", *port, "--save", "", *self.options], self.folder, name="redis"
        )
        self.process.wait_listening(self.port)

    def kill9(self):
        self.process.kill9()

    def close(self):
        self.client.close()
        self.process.end()
