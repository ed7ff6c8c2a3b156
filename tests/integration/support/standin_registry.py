"""A registry that fails as it is told to, for what a real one does not do on request: it answers errors, asks for a password, is
away, speaks TLS."""

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .registry import parse


class StandinRegistry:
    """standin.fail = (503, "away"): every request is answered so;  None: they are answered well.

    standin.user = ("u", "p");  standin.requests: ["POST /subjects/x-value/versions"];  standin.reader(id): for decode()
    """

    def __init__(self, certificate=None):
        self.fail = None
        self.user = None
        self.requests = []
        self.schemas = []
        self.subjects = {}
        self._certificate = certificate
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"{'https' if self._certificate else 'http'}://localhost:{self.port}"

    def reader(self, id):
        return parse(json.loads(self.schemas[id - 1]))

    def start(self):
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                standin.requests.append(f"{self.command} {self.path}")
                if standin.fail:
                    status, message = standin.fail
                    return self.answer(status, {"error_code": status, "message": message})
                wanted = standin.user and "Basic " + base64.b64encode(":".join(standin.user).encode()).decode()
                if wanted and self.headers.get("Authorization") != wanted:
                    return self.answer(401, {"error_code": 401, "message": "who are you?"})
                self.answer(*standin.do(self.command, self.path, json.loads(body) if body else {}))

            do_GET = do_POST = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        """Nobody listens there; start() has it back on its port."""
        self._server.shutdown()
        self._server.server_close()

    def do(self, method, path, body):
        _, subjects, subject, *more = path.split("/")
        if subjects != "subjects" or method == "GET" and subject not in self.subjects:
            return 404, {"error_code": 40401, "message": "no such subject"}
        if method == "GET":
            return 200, [1]
        if not more and self.subjects.get(subject) != body["schema"]:
            return 404, {"error_code": 40403, "message": "no such schema"}
        self.subjects[subject] = body["schema"]
        if body["schema"] not in self.schemas:
            self.schemas.append(body["schema"])
        return 200, {"id": self.schemas.index(body["schema"]) + 1}
