"""An HTTP proxy that makes the faults which a sound server can't be made to show."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class FaultProxy:
    """proxy = FaultProxy("http://127.0.0.1:9200"); proxy.url

    proxy.faults                list of functions, asked in turn: fault(request, forward) -> answer or None (not mine).
                                request: .method, .path, .body, .headers; forward() -> (status, bytes) of the real server;
                                an answer is (status, bytes), or proxy.CUT: the connection is closed without one.
    proxy.requests              [(method, path)] so far
    proxy.fail(status, n=None)  a fault that answers the next n _bulk requests with this status (None: until cleared)
    proxy.clear(), proxy.close()
    """

    CUT = object()

    def __init__(self, target):
        self.target = target
        self.faults = []
        self.requests = []
        self.bulks = []  # bodies of the _bulk requests that came
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def _serve(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.method = self.command
                proxy.requests.append((self.command, self.path))
                if "_bulk" in self.path:
                    proxy.bulks.append(self.body)
                answer = None
                for fault in list(proxy.faults):
                    answer = fault(self, self._forward)
                    if answer is not None:
                        break
                answer = answer or self._forward()
                if answer is proxy.CUT:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def _forward(self):
                headers = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "authorization")}
                answer = requests.request(
                    self.command, proxy.target + self.path, data=self.body, headers=headers, timeout=60
                )
                return answer.status_code, answer.content

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that goes away is what the tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def fail(self, status, n=None, error="circuit_breaking_exception"):
        left = [n]

        def fault(request, forward):
            if "_bulk" not in request.path or left[0] == 0:
                return None
            if left[0] is not None:
                left[0] -= 1
            return status, json.dumps({"error": {"type": error, "reason": "a test"}, "status": status}).encode()

        self.faults.append(fault)

    def clear(self):
        self.faults.clear()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
