"""Other ways in than the plain port: a unix socket with its mode, and sockets that systemd hands over."""

import os
import socket
import stat
import subprocess

import pytest
import redis

from support.freshet import binary
from support.process import free_port

PLAIN = {"read_through": False, "workers": 2}


@pytest.fixture
def folder(workshop):
    made = workshop.make_folder("sockets")
    made.chmod(0o777)
    return made


def test_a_unix_socket_serves_and_has_its_mode(freshet, folder):
    path = folder / "freshet.sock"
    served = freshet(None, {"cache": {**PLAIN, "unix_socket": str(path), "unix_mode": "0766"}})
    assert stat.S_IMODE(path.stat().st_mode) == 0o766
    with redis.Redis(unix_socket_path=str(path), decode_responses=True) as client:
        assert client.set("k", "v")
        assert client.client_info()["addr"] == f"{path}:0"[:60]
    assert served.redis.get("k") == "v"
    served.stop()
    assert not path.exists()


def test_a_socket_that_was_left_behind_is_taken_over_and_one_in_use_is_not(freshet, folder):
    path = folder / "freshet.sock"
    first = freshet(None, {"cache": {**PLAIN, "unix_socket": str(path), "unix_mode": "0777"}})
    second = freshet(None, {"cache": {**PLAIN, "unix_socket": str(path)}}, wait=False)
    assert second.process.wait_ended(20) == 1
    assert f"cannot listen on {path}" in second.log_text()
    with redis.Redis(unix_socket_path=str(path)) as client:
        assert client.ping()
    first.kill9()
    assert path.exists()
    first.start()
    with redis.Redis(unix_socket_path=str(path)) as client:
        assert client.ping()


@pytest.mark.parametrize("mode", ["888", "rw", "01777"])
def test_a_mode_that_is_none_is_a_mistake(freshet, mode):
    served = freshet(None, {"cache": {**PLAIN, "unix_mode": mode}}, wait=False)
    assert served.process.wait_ended(20) == 2
    assert "cache.unix_mode" in served.log_text()


class Activated:
    """Freshet as systemd starts it: descriptors from 3 on, and the three variables."""

    def __init__(self, sockets, names=None, options=()):
        admin = free_port()
        shell = "exec " + " ".join(f"{3 + i}<&{s.fileno()}" for i, s in enumerate(sockets))
        words = [binary(), "run", "--admin", f"127.0.0.1:{admin}", "--set", "cache.read_through=false", *options]
        script = f'{shell}\nexport LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={names or ""}\nexec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", *map(str, words)], pass_fds=[s.fileno() for s in sockets],
            stderr=subprocess.PIPE, text=True)
        self.line = ""
        while not self.line.startswith(("ready", "cannot_run")):
            self.line = self.process.stderr.readline()
            assert self.line, "it has ended"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()


def test_sockets_of_systemd_are_listened_on_and_nothing_else(folder):
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        path = folder / "activated.sock"
        unix.bind(str(path))
        unix.listen()
        port = tcp.getsockname()[1]
        with Activated([tcp, unix], "resp:local") as served:
            assert f"cache_port={port} " in served.line
            with redis.Redis(port=port) as client, redis.Redis(unix_socket_path=str(path)) as local:
                assert client.set("k", "v")
                assert local.get("k") == b"v"


def test_what_is_handed_over_must_listen():
    with socket.socket() as silent:
        with Activated([silent]) as served:
            assert "no listening socket" in served.line
            assert served.process.wait(20) == 1


def test_a_tls_socket_needs_a_certificate():
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        with Activated([tcp], "tls") as served:
            assert "cache.tls.certificate" in served.line
