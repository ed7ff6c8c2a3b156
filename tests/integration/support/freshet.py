"""A running Freshet, and what a test asks of it."""

import functools
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis
import requests

from .process import ROOT, Process, environment, free_port
from .waiting import PATIENCE, wait_until

SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def binary():
    path = Path(os.environ.get("FRESHET_BINARY") or "build/freshet")
    path = path if path.is_absolute() else ROOT / path
    if not path.exists():
        raise RuntimeError(f"{path} is not built: run make")
    return path


@functools.cache
def symbols():
    """The names in the binary, roughly: enough to tell a sanitizer's build."""
    data = binary().read_bytes()
    return {name for name in ("__asan_init", "__tsan_init") if name.encode() in data}


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


def run_cli(*args, env=None, timeout=60, input=None):
    """`freshet ARGS` to its end: .returncode, .stdout, .stderr (text)."""
    return subprocess.run(
        [str(binary()), *map(str, args)],
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
        input=input,
    )


class Freshet:
    """One process of `freshet run`, ready when the factory returns it.

    f.redis                        redis.Redis, text answers;  f.redis_bytes: bytes answers
    f.client(protocol=3, ...)      another redis.Redis;  f.socket(): a bare TCP connection to the RESP port
    f.row("customers:1")           GET, decoded from JSON; None when absent
    f.metric("freshet_cache_hits_total", **labels)     sum over matching series; 0.0 where there is none
    f.metrics()                    [(name, {label: value}, float)]
    f.status()                     /status, decoded;  f.http("/readyz") -> requests.Response
    f.events()                     JSON lines on standard output so far (cdc.output: stdout)
    f.log_text(), f.words_of_log(), f.wait_for_log("feed_streaming")
    f.wait_ready(), f.wait_applied(db)                 the cache feed has applied all that is committed there
    f.stop()                       SIGTERM; asserts exit 0
    f.kill9(), f.start()           start again with the same configuration and ports
    f.pause(), f.resume()          SIGSTOP, SIGCONT;  f.rss_bytes()
    """

    def __init__(self, workshop, config, args=(), env=None, name="freshet"):
        self._workshop = workshop
        self.folder = workshop.make_folder(name)
        self.port = free_port()
        self.admin_port = free_port()
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.config = merge(
            {"cache": {"listen": f"127.0.0.1:{self.port}"}, "admin": {"listen": f"127.0.0.1:{self.admin_port}"}}, config
        )
        self._args, self._env, self._name = list(args), env, name
        self._clients = []
        self.process = None
        self.write_config()

    def write_config(self):
        # JSON is YAML.
        self.config_path = self.folder / "freshet.yml"
        self.config_path.write_text(json.dumps(self.config, indent=2) + "\n")

    @property
    def stdout(self):
        return self.folder / "stdout"

    @property
    def pid(self):
        return self.process.pid

    def start(self, wait=True):
        self.process = Process(
            self._workshop,
            [binary(), "run", "-c", self.config_path, *self._args],
            self.folder,
            name=self._name,
            env=self._env,
            stdout=self.stdout,
        )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=20):
        def ready():
            self.process.assert_running()
            return self.http("/readyz").status_code == 200 and "ready" in self.words_of_log()

        wait_until(ready, timeout, f"{self._name} is ready")

    def stop(self, timeout=20):
        self.process.assert_running()
        self.process.signal(signal.SIGTERM)
        code = self.process.wait_ended(timeout)
        assert code == 0, f"{self._name} ended with {code}:\n{self.log_text()[-4000:]}"

    def kill9(self):
        self.process.kill9()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def close(self):
        """The fixture's end: a process that is still there must end well (a sanitizer's report is an exit code)."""
        for client in self._clients:
            client.close()
        if self.process and self.process.exit_code is None:
            self.process.signal(signal.SIGCONT)
            try:
                self.stop()
            finally:
                self.process.end(0)

    def client(self, **options):
        options.setdefault("decode_responses", True)
        options.setdefault("socket_timeout", 30)
        client = redis.Redis(host="127.0.0.1", port=self.port, **options)
        self._clients.append(client)
        return client

    @property
    def redis(self):
        if not hasattr(self, "_text_client"):
            self._text_client = self.client()
        return self._text_client

    @property
    def redis_bytes(self):
        if not hasattr(self, "_bytes_client"):
            self._bytes_client = self.client(decode_responses=False)
        return self._bytes_client

    def socket(self, timeout=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def row(self, key):
        text = self.redis.get(key)
        return None if text is None else json.loads(text)

    def http(self, path, method="GET", **options):
        """A process that has just been started need not listen yet."""
        deadline = time.monotonic() + 15 * PATIENCE
        while True:
            try:
                return requests.request(method, self.admin_url + path, timeout=10, **options)
            except requests.ConnectionError:
                if self.process.exit_code is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def status(self):
        return self.http("/status").json()

    def metrics(self):
        samples = []
        for line in self.http("/metrics").text.splitlines():
            found = None if line.startswith("#") else SAMPLE.match(line)
            if found:
                samples.append((found["name"], dict(LABEL.findall(found["labels"] or "")), float(found["value"])))
        return samples

    def metric(self, name, **labels):
        wanted = {key: str(value) for key, value in labels.items()}
        return sum(value for n, have, value in self.metrics() if n == name and wanted.items() <= have.items())

    def wait_applied(self, lsn, timeout=15):
        """Raises when it is not applied in time. `lsn` may be a Database: its position now."""
        lsn = lsn if isinstance(lsn, str) else lsn.lsn()
        return self.redis.execute_command("FRESHET.WAIT", lsn, int(timeout * PATIENCE * 1000))

    def events(self):
        if not self.stdout.exists():
            return []
        text = self.stdout.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line.startswith("{")]

    def log_text(self):
        return self.process.log_text()

    def words_of_log(self):
        """The first word of each line: the events."""
        return [line.split(" ", 1)[0] for line in self.log_text().splitlines()]

    def wait_for_log(self, text, timeout=15):
        wait_until(lambda: text in self.log_text(), timeout, f"{text!r} in the log of {self._name}")

    def rss_bytes(self):
        """Under a sanitizer 0: what it keeps for itself is not to be measured."""
        if "__asan_init" in symbols() or "__tsan_init" in symbols():
            return 0
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
