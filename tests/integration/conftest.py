"""Fixtures of the integration tests. Servers are real, start when a test first asks for them, and are shared by the
session; they go when it ends, also after Ctrl-C or when pytest is killed. Ports and folders are the test's own.

    postgres            the shared PostgreSQL 15 (wal_level=logical, superuser postgres): support/postgres.py, Postgres.
                        In both versions:  @pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
    db                  a fresh, empty database in it: Database
                            db.execute("INSERT INTO t VALUES (%s)", [1]);  db.rows(sql);  db.value(sql);  db.url
    shop                a fresh database with the sample shop (tests/demo/shop.sql): customers 1-2000, products 1-300,
                        orders 1-4000, order_items (two a order, composite key), page_views (without a key)
    make_postgres       a server of the test's own:
                            server = make_postgres(version="15", max_replication_slots=1, wal_level="replica")
                            db = server.create_database();  shop = server.create_shop();  server.stop();  server.start()
                        The visibility gap (only on a server of one's own, as it holds every commit):
                            with shop.commit_held("UPDATE customers SET name = 'new' WHERE id = 1"): ...
    kafka               the shared broker: support/kafka.py, Kafka. Choose a topic prefix of your own (`unique`).
                            kafka.wait_for(f"{unique}.public.customers", 3);  kafka.read(*kafka.topics(unique + "."))
    make_kafka          a broker of the test's own, to stop, pause or kill: broker = make_kafka(message__max__bytes=1000)
    opensearch          the shared OpenSearch: opensearch.documents("users"), opensearch.call("GET", "/users/_mapping")
    debezium            the oracle:  oracle = debezium(db, prefix, schemas=False, **{"snapshot.mode": "no_data"})
                        returns once it streams; oracle.stop()
    registry            the shared schema registry: registry.url, registry.decode(record.raw_value)
    connect             the shared Kafka Connect, with Debezium's JDBC sink and its source, and Avro converters:
                            connect.sink(unique, database, topics=[...]);  connect.source(db, prefix, **avro(registry))
    freshet             starts `freshet run`, waits for /readyz, and stops it after the test asserting exit 0:
                            f = freshet(shop)                                        a cache on the database
                            f = freshet(shop, {"cache": {"ttl": "1s"}})              configuration, as it stands in the YAML
                            f = freshet(shop, kafka=kafka, prefix=unique)            with the publisher too
                            f = freshet(None, {...}, args=["--set", "a.b=c"], env={"NAME": "x"}, wait=False)
                            f.redis.get("customers:1");  f.metric("freshet_cache_hits_total");  f.kill9();  f.start()
                        support/freshet.py lists the rest. Its log is printed when the test fails.
    cli                 run = cli("check", "-c", path): .returncode, .stdout, .stderr
    redis_server        a redis-server to compare with: a redis.Redis client of it (emptied for each test)
    pair                both side by side, by RESP2 and RESP3 (support/pair.py):  pair.compare(story("SET k v | GET k"))
    unique              a short name that no other test has: topics, slots, indexes
    wait_until          wait_until(lambda: f.row("customers:1")["name"] == "new", timeout=15)
    tmp_path            pytest's own temporary folder

The binary is build/freshet, or FRESHET_BINARY. FRESHET_TEST_PATIENCE multiplies every deadline.
`tests/integration/test_fixtures.py` shows each of them at work.
"""

import itertools
import os
import shutil
import sys
from pathlib import Path

import pytest
import redis

from support import waiting
from support.connect import Connect
from support.debezium import Debezium
from support.freshet import Freshet, merge, run_cli
from support.pair import Pair
from support.kafka import Kafka
from support.opensearch import OpenSearch
from support.postgres import Postgres
from support.registry import Registry
from support.process import Process, Workshop, free_port

# The hunter of stale reads is a program of its own, and a library of the tests.
sys.path.append(str(Path(__file__).parents[1] / "coherence"))
sys.path.append(str(Path(__file__).parents[1] / "delivery"))  # and so are the storms

_names = itertools.count(1)


@pytest.fixture(scope="session")
def workshop():
    workshop = Workshop()
    yield workshop
    workshop.close()


@pytest.fixture(scope="session")
def _servers(workshop):
    """Session-wide servers by name, made at first use."""
    made = {}

    def server(name, make):
        if name not in made:
            made[name] = make()
        return made[name]

    yield server
    for one in reversed(list(made.values())):
        one.stop()


@pytest.fixture
def postgres(request, workshop, _servers):
    version = getattr(request, "param", "15")
    return _servers(f"postgres{version}", lambda: Postgres(workshop, version))


@pytest.fixture
def make_postgres(workshop):
    made = []

    def make(version="15", **settings):
        made.append(Postgres(workshop, version, **settings))
        return made[-1]

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def db(postgres):
    database = postgres.create_database()
    yield database
    database.drop()


@pytest.fixture
def shop(postgres):
    database = postgres.create_shop()
    yield database
    database.drop()


@pytest.fixture
def kafka(workshop, _servers):
    return _servers("kafka", lambda: Kafka(workshop))


@pytest.fixture
def make_kafka(workshop):
    made = []

    def make(**settings):
        made.append(Kafka(workshop, **settings))
        return made[-1]

    yield make
    for broker in made:
        broker.kill9()


@pytest.fixture
def opensearch(workshop, _servers):
    return _servers("opensearch", lambda: OpenSearch(workshop))


@pytest.fixture
def debezium(workshop, kafka):
    made = []

    def make(database, prefix, **settings):
        made.append(Debezium(workshop, kafka, database, prefix, **settings))
        return made[-1]

    yield make
    for oracle in made:
        oracle.stop()


@pytest.fixture
def registry(workshop, _servers):
    return _servers("registry", lambda: Registry(workshop)).wait_ready()


@pytest.fixture
def connect(workshop, kafka, _servers):
    _servers("registry", lambda: Registry(workshop))  # its converters want it; the two start at once
    return _servers("connect", lambda: Connect(workshop, kafka)).wait_ready()


@pytest.fixture
def freshet(request, workshop):
    made = []
    request.node.freshets = made

    def make(database=None, config=None, *, kafka=None, prefix=None, args=(), env=None, wait=True, start=True):
        merged = {"database": {"url": database.url}} if database else {}
        if kafka:
            merge(merged, {"cdc": {"kafka": {"brokers": kafka.brokers}}})
        if prefix:
            merge(merged, {"cdc": {"prefix": prefix}})
        made.append(Freshet(workshop, merge(merged, config or {}), args, env))
        return made[-1].start(wait) if start else made[-1]

    yield make
    failures = []
    for one in made:
        try:
            one.close()
        except Exception as failure:  # noqa: BLE001 - the others must be closed too
            failures.append(failure)
    if failures:
        raise failures[0]


@pytest.fixture
def cli():
    return run_cli


@pytest.fixture(scope="session")
def _redis_server(workshop):
    port = free_port()
    folder = workshop.make_folder("redis")
    process = Process(workshop, ["redis-server", "--port", port, "--save", ""], folder, name="redis")
    process.wait_listening(port)
    yield port
    process.end()


@pytest.fixture
def redis_server(_redis_server):
    client = redis.Redis(host="127.0.0.1", port=_redis_server, decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def unique():
    return f"x{os.getpid()}_{next(_names)}"


@pytest.fixture
def wait_until():
    return waiting.wait_until


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if not report.failed:
        return
    for one in getattr(item, "freshets", []):
        if one.process and one.process.log.exists():
            lines = one.log_text().splitlines()
            report.sections.append((f"log of {one.config_path.parent.name} (last 100 lines)", "\n".join(lines[-100:])))
    # A failed test's folders, where somebody asked to keep them.
    keep = os.environ.get("FRESHET_TEST_KEEP")
    if keep and call.when == "call":
        for one in getattr(item, "freshets", []):
            shutil.copytree(one.folder, os.path.join(keep, item.name, one.folder.name), dirs_exist_ok=True)


@pytest.fixture(scope="session")
def plain(workshop):
    """A cache with no database: every key is a plain one."""
    one = Freshet(workshop, {"cache": {"read_through": False}}, name="plain").start()
    yield one
    one.close()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def pair(request, redis_server, plain):
    """A redis-server and Freshet, both empty."""
    port = redis_server.connection_pool.connection_kwargs["port"]
    pair = Pair(port, plain.port, request.param)
    pair.flush()
    yield pair
    pair.close()
