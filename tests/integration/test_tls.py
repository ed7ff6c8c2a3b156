"""TLS for RESP clients: certificates of both ends, handshakes that are slow, half or wrong, and new certificates by SIGHUP."""

import os
import signal
import socket
import ssl
import subprocess

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.authority import Authority
from support.process import free_port
from support.resp import Wire, command

PLAIN = {"read_through": False, "workers": 2}


@pytest.fixture(scope="module")
def authority(workshop):
    return Authority(workshop.make_folder("certificates"))


@pytest.fixture(scope="module")
def server_files(authority):
    return authority.sign("server")


@pytest.fixture(scope="module")
def client_files(authority):
    return authority.sign("client")


class Served:
    """A process with a plain port and a TLS port."""

    def __init__(self, freshet, authority, files, **tls):
        self.tls_port = free_port()
        self.authority = authority
        tls = {"certificate": str(files[0]), "key": str(files[1]), "listen": f"127.0.0.1:{self.tls_port}",
               "ca": str(authority.ca), **tls}
        self.freshet = freshet(None, {"cache": {**PLAIN, "tls": tls}})

    def client(self, files=None, **options):
        if files:
            options.update(ssl_certfile=str(files[0]), ssl_keyfile=str(files[1]))
        return redis.Redis(host="localhost", port=self.tls_port, ssl=True, ssl_ca_certs=str(self.authority.ca),
                           socket_timeout=10, decode_responses=True, retry=Retry(NoBackoff(), 0), **options)

    def context(self):
        return ssl.create_default_context(cafile=str(self.authority.ca))

    def refused(self):
        return self.freshet.metric("freshet_cache_tls_refused_total")


@pytest.fixture
def serve(freshet, authority, server_files):
    return lambda **tls: Served(freshet, authority, server_files, **tls)


def test_both_ports_serve_the_same_keys(serve):
    served = serve()
    with served.client() as client:
        assert client.set("k", "v")
        assert client.ping()
    assert served.freshet.redis.get("k") == "v"
    assert served.freshet.metric("freshet_cache_tls_handshakes_total") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_values_and_deep_pipelines_come_through_whole(serve, version):
    served = serve()
    value = os.urandom(3 << 20).hex()
    with served.client(ssl_min_version=version) as client:
        assert client.set("big", value)
        assert client.get("big") == value
        pipeline = client.pipeline(transaction=False)
        for i in range(5000):
            pipeline.set(f"k:{i}", "x" * 100)
        for i in range(5000):
            pipeline.get(f"k:{i}")
        replies = pipeline.execute()
    assert replies == [True] * 5000 + ["x" * 100] * 5000


def test_a_reply_larger_than_the_socket_waits_for_a_slow_reader(serve):
    served = serve()
    served.freshet.redis.set("big", "y" * (4 << 20))
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    raw.connect(("127.0.0.1", served.tls_port))
    with served.context().wrap_socket(raw, server_hostname="localhost") as slow:
        slow.sendall(command("GET", "big") + command("PING"))
        assert served.freshet.redis.ping()
        expected = b"$%d\r\n" % (4 << 20) + b"y" * (4 << 20) + b"\r\n+PONG\r\n"
        came = bytearray()
        while len(came) < len(expected):
            part = slow.recv(1 << 16)
            assert part
            came += part
        assert bytes(came) == expected


def test_without_a_listener_of_its_own_the_port_speaks_tls_alone(freshet, authority, server_files):
    certificate, key = map(str, server_files)
    served = freshet(None, {"cache": {**PLAIN, "tls": {"certificate": certificate, "key": key}}})
    with redis.Redis(host="localhost", port=served.port, ssl=True, ssl_ca_certs=str(authority.ca)) as client:
        assert client.ping()
    with Wire(served.port) as plain:
        plain.send(b"PING\r\n")
        assert b"PONG" not in plain.read_to_end()


def test_redis_cli_connects(serve):
    served = serve()
    run = subprocess.run(["redis-cli", "-h", "localhost", "-p", str(served.tls_port), "--tls", "--cacert",
                          str(served.authority.ca), "ping"], capture_output=True, text=True, timeout=20)
    assert run.stdout == "PONG\n"


def test_a_client_certificate_is_required_where_the_configuration_says_so(serve, client_files, workshop):
    served = serve(clients="required")
    with served.client(client_files) as client:
        assert client.ping()
    with pytest.raises(redis.ConnectionError), served.client() as client:
        client.ping()
    stranger = Authority(workshop.make_folder("stranger"), "stranger")
    with pytest.raises(redis.ConnectionError), served.client(stranger.sign("mallory")) as client:
        client.ping()
    assert served.refused() == 2


def test_an_optional_client_certificate_may_be_missing_but_not_wrong(serve, client_files, workshop):
    served = serve(clients="optional")
    with served.client(client_files) as client:
        assert client.ping()
    with served.client() as client:
        assert client.ping()
    stranger = Authority(workshop.make_folder("stranger"), "stranger")
    with pytest.raises(redis.ConnectionError), served.client(stranger.sign("mallory")) as client:
        client.ping()


def test_what_is_no_tls_is_closed_and_counted(serve, wait_until):
    served = serve()
    with Wire(served.tls_port) as wire:
        wire.send(b"*1\r\n$4\r\nPING\r\n")
        assert b"PONG" not in wire.read_to_end()
    wait_until(lambda: served.refused() == 1, timeout=10)
    assert "tls_refused" in served.freshet.log_text()


def test_slow_and_half_handshakes_hold_up_nobody_and_end(serve, wait_until):
    served = serve(handshake_timeout="1s")
    silent = [Wire(served.tls_port) for _ in range(50)]
    half = []
    for _ in range(20):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        shaking = served.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            shaking.do_handshake()
        hello = outgoing.read()
        wire = Wire(served.tls_port)
        wire.send(hello[: len(hello) // 2])
        half.append(wire)
    with served.client() as client:
        assert client.ping()
    for wire in silent + half:
        assert wire.read_to_end() == b""
        wire.close()
    wait_until(lambda: served.freshet.metric("freshet_cache_clients") == 0, timeout=10)
    assert served.refused() == 70


def test_a_handshake_byte_by_byte_succeeds(serve):
    served = serve()
    raw = socket.create_connection(("127.0.0.1", served.tls_port), 20)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = served.context().wrap_bio(incoming, outgoing, server_hostname="localhost")

    def flush():
        for byte in outgoing.read():
            raw.sendall(bytes([byte]))

    def until_done(step):
        while True:
            try:
                result = step()
                flush()
                return result
            except ssl.SSLWantReadError:
                flush()
                incoming.write(raw.recv(7))

    until_done(client.do_handshake)
    client.write(b"PING\r\n")
    flush()
    assert until_done(lambda: client.read(7)) == b"+PONG\r\n"
    raw.close()


def test_sighup_takes_a_new_certificate_for_new_connections(serve, authority, server_files, wait_until, workshop):
    folder = workshop.make_folder("renewed")
    files = [folder / "server.crt", folder / "server.key"]

    def put(pair):
        for path, source in zip(files, pair):
            path.write_bytes(source.read_bytes())
            path.chmod(0o644)

    put(server_files)
    served = serve(certificate=str(files[0]), key=str(files[1]))

    def serial():
        with socket.create_connection(("127.0.0.1", served.tls_port), 10) as raw:
            with served.context().wrap_socket(raw, server_hostname="localhost") as wrapped:
                return wrapped.getpeercert()["serialNumber"]

    old = served.client()
    assert old.ping()
    before = serial()
    put(authority.sign("renewed"))
    os.kill(served.freshet.pid, signal.SIGHUP)
    served.freshet.wait_for_log("certificates_reloaded")
    assert serial() != before
    assert old.ping()

    files[1].write_text("no key\n")
    os.kill(served.freshet.pid, signal.SIGHUP)
    served.freshet.wait_for_log("certificates_not_reloaded")
    assert old.ping() and serial() != before
    old.close()


def test_a_blocked_client_that_goes_is_missed(serve, wait_until):
    served = serve()
    raw = socket.create_connection(("127.0.0.1", served.tls_port), 10)
    wrapped = served.context().wrap_socket(raw, server_hostname="localhost")
    wrapped.sendall(command("BLPOP", "nothing", "0"))
    wait_until(lambda: served.freshet.metric("freshet_cache_clients_waiting") == 1, timeout=10)
    wrapped.close()
    wait_until(lambda: served.freshet.metric("freshet_cache_clients_waiting") == 0, timeout=10)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"certificate": "/nowhere.crt"}, "cache.tls.certificate: cannot use /nowhere.crt"),
        ({"key": "/nowhere.key"}, "cache.tls.key: cannot use /nowhere.key"),
        ({"key": "OTHER"}, "key values mismatch"),
        ({"clients": "required", "ca": "/nowhere.crt"}, "cache.tls.ca: cannot use /nowhere.crt"),
    ],
)
def test_wrong_files_are_told_at_the_start(freshet, authority, server_files, client_files, change, complaint):
    change = {name: str(client_files[1]) if value == "OTHER" else value for name, value in change.items()}
    tls = {"certificate": str(server_files[0]), "key": str(server_files[1]), **change}
    served = freshet(None, {"cache": {**PLAIN, "tls": tls}}, wait=False)
    assert served.process.wait_ended(20) == 1
    assert complaint in served.log_text()


def test_check_says_whether_the_certificates_will_do(cli, server_files, client_files):
    def check(key):
        return cli("check", "--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}",
                   "--set", "cache.read_through=false",
                   "--set", f"cache.tls.certificate={server_files[0]}", "--set", f"cache.tls.key={key}")

    good, bad = check(server_files[1]), check(client_files[1])
    assert good.returncode == 0 and "its key fit together" in good.stdout
    assert bad.returncode == 1 and "key values mismatch" in bad.stdout


@pytest.mark.parametrize(("plain", "clients", "password", "fits"), [
    ("127.0.0.1", "required", None, True),
    ("127.0.0.1", "optional", None, False),
    ("127.0.0.1", "optional", "secret", True),
    ("0.0.0.0", "required", None, False),
])
def test_beyond_loopback_a_password_or_a_certificate_is_asked_for(cli, authority, server_files, plain, clients, password, fits):
    more = ["--set", f"cache.password={password}"] if password else []
    done = cli("check", "--listen", f"{plain}:{free_port()}", "--admin", f"127.0.0.1:{free_port()}",
               "--set", "cache.read_through=false", "--set", f"cache.tls.listen=0.0.0.0:{free_port()}",
               "--set", f"cache.tls.certificate={server_files[0]}", "--set", f"cache.tls.key={server_files[1]}",
               "--set", f"cache.tls.ca={authority.ca}", "--set", f"cache.tls.clients={clients}", *more)
    assert done.returncode == (0 if fits else 2), done.stdout + done.stderr
    assert fits or "beyond loopback" in done.stdout + done.stderr


def test_a_stop_sends_what_was_asked_before_it(serve):
    """Replies that do not fit into a socket at once, over TLS: whole, then an end that is told, and no connection more."""
    served = serve()
    value = os.urandom(1 << 20).hex()
    served.freshet.redis.set("big", value)
    asked = command("GET", "big") * 8
    whole = (b"$%d\r\n%s\r\n" % (len(value), value.encode())) * 8
    connections = []
    for _ in range(3):
        raw = socket.create_connection(("127.0.0.1", served.tls_port), timeout=30)
        connections.append(served.context().wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False))
        connections[-1].sendall(asked)
        assert connections[-1].recv(1) == whole[:1]  # it is being answered
    served.freshet.process.signal(signal.SIGTERM)
    for connection in connections:
        received = bytearray(whole[:1])
        while data := connection.recv(1 << 20):
            received += data
        assert bytes(received) == whole
        connection.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", served.tls_port), timeout=30).recv(1)
