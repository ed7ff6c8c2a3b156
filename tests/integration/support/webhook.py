"""A webhook's receiver: an HTTP server that checks signatures, keeps what it took, and fails as it is told."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(b"a key that both sides have").decode()


def signature(secret, identifier, timestamp, body):
    """As Standard Webhooks has it."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Receiver:
    """receiver = Receiver(); receiver.url

    receiver.faults     functions, asked in turn: fault(request) -> answer or None (not mine). request: .headers, .body, .json;
                        an answer is (status, headers, text), CUT (no answer) or LOST (taken, and no answer).
    receiver.requests   [(identifier, changes, time.monotonic())] that came with a sound signature, taken or not
    receiver.keys       {identifier: body without its signature} of what was taken
    receiver.rows       {id: document}: what was taken makes of the table, as a receiver would keep it
    receiver.repeats    changes that were known already by their version
    receiver.wrong      what should not have come: signatures that are wrong, an old version behind a newer one, ...
    receiver.most       requests that were in work at the same time, at most
    """

    CUT = object()
    LOST = object()

    def __init__(self, secret=SECRET, context=None):
        self.secret = secret
        self.faults, self.requests, self.wrong = [], [], []
        self.keys, self.rows, self.versions = {}, {}, {}
        self.repeats = self.in_work = self.most = 0
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                self.body = self.rfile.read(length)
                if len(self.body) < length:  # whoever sent it is dead
                    self.close_connection = True
                    return
                with receiver.lock:
                    receiver.in_work += 1
                    receiver.most = max(receiver.most, receiver.in_work)
                try:
                    self.answer(receiver.handle(self))
                finally:
                    with receiver.lock:
                        receiver.in_work -= 1

            def do_HEAD(self):
                self.answer((405, {}, ""))

            def answer(self, answer):
                if answer in (receiver.CUT, receiver.LOST):
                    self.close_connection = True
                    return
                status, headers, text = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode() if self.command != "HEAD" else b"")

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://localhost:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def fail(self, status, n=None, headers=None, when=lambda request: True):
        """The next n requests (None: all) for which `when` holds are answered so."""
        left = [n]

        def fault(request):
            if left[0] == 0 or not when(request):
                return None
            if left[0] is not None:
                left[0] -= 1
            return status, headers or {}, '{"message": "a test"}'

        self.faults.append(fault)

    def handle(self, request):
        headers = request.headers
        identifier = headers["webhook-id"]
        if not self.is_signed(headers, request.body):
            self.wrong.append(f"signature of {identifier}")
            return 401, {}, "signature"
        if abs(time.time() - int(headers["webhook-timestamp"])) > 60:
            self.wrong.append(f"timestamp of {identifier}")
        if headers["Idempotency-Key"] != identifier or headers["Content-Type"] != "application/json":
            self.wrong.append(f"headers of {identifier}: {dict(headers)}")
        request.json = json.loads(request.body)
        with self.lock:
            self.requests.append((identifier, request.json["changes"], time.monotonic()))
            for fault in self.faults:
                answer = fault(request)
                if answer is self.LOST:
                    self.take(identifier, request)
                if answer is not None:
                    return answer
            self.take(identifier, request)
            return 204, {}, ""

    def is_signed(self, headers, body):
        if not self.secret:
            return "webhook-signature" not in headers
        expected = signature(self.secret, headers["webhook-id"], headers["webhook-timestamp"], body)
        return hmac.compare_digest(expected, headers.get("webhook-signature", ""))

    def take(self, identifier, request):
        """One that is known is skipped, as a receiver is told to do: were it another one, rows would be missing."""
        if identifier in self.keys:
            return
        self.keys[identifier] = request.body
        for change in request.json["changes"]:
            self.take_change(change)

    def take_change(self, change):
        version = change["version"]
        if change["operation"] in ("truncate", "loaded"):
            for key in [key for key in self.rows if self.versions[key] < version]:
                del self.rows[key]
            return
        key = change["id"]
        before = self.versions.get(key, 0)
        if version <= before:
            self.repeats += 1
            return
        self.versions[key] = version
        if change["operation"] == "put":
            self.rows[key] = change["document"]
        else:
            self.rows.pop(key, None)
