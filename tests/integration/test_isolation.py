"""One connector's sink in trouble is nobody else's: the cache, the publisher and the other connectors do not notice. And one that was
set back to an older state catches up, wherever that is."""

import json
import signal

import psycopg
import pytest

from support.redisserver import RedisServer
from support.writers import USERS, fill

BOUND_S = 2.5  # on a machine that others work on, too


class Sink:
    """One connector of a table, and what stands in its target."""

    def __init__(self, db, name, table="users", **options):
        self.db, self.name, self.table = db, name, table
        self.config = {"name": name, "table": f"public.{table}", **options}

    def metric(self, name):
        return self.process.metric(f"freshet_connector_{name}", connector=self.name)

    def status(self):
        return next(one for one in self.process.status()["connectors"] if one["name"] == self.name)

    def is_equal(self):
        """Raises with the first differences, which wait_until shows when the time is up."""
        rows = {str(row["id"]): row["doc"] for row in self.db.rows(f"SELECT id, row_to_json(t) AS doc FROM {self.table} t")}
        kept = self.contents()
        wrong = sorted(key for key in rows.keys() | kept.keys() if rows.get(key) != kept.get(key))
        assert not wrong, f"{self.name}: {len(wrong)} differ: {[(key, rows.get(key), kept.get(key)) for key in wrong[:2]]}"
        return True

    def count(self):
        return len(self.contents())

    def close(self):
        pass


class Strings(Sink):
    def __init__(self, request, db, unique, **options):
        self.server = RedisServer(request.getfixturevalue("workshop"))
        super().__init__(db, f"{unique}_redis", type="redis", url=self.server.url, key="row:{id}", **options)

    def contents(self):
        keys = list(self.server.client.scan_iter("row:*", count=1000))
        values = self.server.client.mget(keys) if keys else []
        return {key.partition(":")[2]: json.loads(text) for key, text in zip(keys, values) if text}

    def back_up(self):
        self.server.client.save()

    def set_back(self):
        self.server.kill9()
        self.server.start()

    def close(self):
        self.server.close()


class Table(Sink):
    def __init__(self, request, db, unique, **options):
        super().__init__(db, f"{unique}_view", type="view", into="public.copy", **options)

    def contents(self):
        try:
            return {str(row["id"]): row["doc"] for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM copy t")}
        except psycopg.errors.UndefinedTable:
            return {}

    def back_up(self):
        self.db.execute_many(
            "CREATE TABLE old_copy AS SELECT * FROM copy", "CREATE TABLE old_positions AS SELECT * FROM freshet_positions"
        )

    def set_back(self):
        self.db.execute_many(
            "DELETE FROM copy", "INSERT INTO copy SELECT * FROM old_copy",
            "DELETE FROM freshet_positions", "INSERT INTO freshet_positions SELECT * FROM old_positions",
        )


class Index(Sink):
    def __init__(self, request, db, unique, **options):
        self.server, self.index = request.getfixturevalue("opensearch"), unique
        super().__init__(db, f"{unique}_search", type="opensearch", url=self.server.url, index=unique, **options)

    def contents(self):
        return self.server.documents(self.index)

    def back_up(self):
        pass

    def set_back(self):
        """By hand, empty; unless the connector is quicker."""
        self.server.delete_index(self.index)
        self.server.call("PUT", f"/{self.index}", ok=False)

    def close(self):
        self.server.delete_index(self.index)


def run(freshet, db, sinks, roles=("connectors",), **config):
    process = freshet(db, {"roles": list(roles), "connectors": [sink.config for sink in sinks], **config}, start=False)
    process.config["state_dir"] = str(process.folder / "state")
    process.write_config()
    process.start(wait=False)
    for sink in sinks:
        sink.process = process
    return process


class Troubles:
    """What may befall a Redis: begin, and mend."""

    def __init__(self, server):
        self.server = server

    def dead(self):
        self.server.kill9()
        return self.server.start

    def frozen(self):
        self.server.process.signal(signal.SIGSTOP)
        return lambda: self.server.process.signal(signal.SIGCONT)

    def refusing(self):
        self.server.client.config_set("maxmemory", 1)
        return lambda: self.server.client.config_set("maxmemory", 0)


def assert_others_keep_up(process, shop, sick, well, number, wait_until):
    """One change, which everybody else has; and nobody is late."""
    name = f"name {number}"
    shop.execute("UPDATE customers SET name = %s WHERE id = 2", [name])
    wait_until(lambda: process.row("customers:2")["name"] == name, BOUND_S, "the cache is fresh")
    wait_until(lambda: process.events()[-1]["value"]["after"]["name"] == name, BOUND_S, "the event is out")
    wait_until(lambda: well.contents()["2"]["name"] == name, BOUND_S, "the other connector has it")
    lags = {
        "cache": process.metric("freshet_cache_staleness_seconds"),
        "publisher": process.metric("freshet_feed_lag_seconds", feed="cdc"),
        "connector": well.metric("lag_seconds"),
    }
    assert max(lags.values()) < BOUND_S, lags


def test_a_sink_in_trouble_delays_nobody_else(shop, request, freshet, unique, wait_until):
    sick = Strings(request, shop, unique, table="customers", breaker_failures=3, breaker_pause="300ms")
    well = Table(request, shop, unique, table="customers")
    troubles = Troubles(sick.server)
    events = {"output": "stdout", "tables": ["public.customers"], "snapshot": "never"}
    try:
        process = run(freshet, shop, [sick, well], roles=["cache", "cdc", "connectors"], cdc=events)
        process.wait_ready()
        for n, begin in enumerate([troubles.dead, troubles.frozen, troubles.refusing]):
            wait_until(lambda: sick.is_equal() and well.is_equal(), 30, "both have the table", 0.05)
            mend = begin()
            number = 0
            while sick.metric("lag_seconds") <= BOUND_S:
                number += 1
                assert_others_keep_up(process, shop, sick, well, f"{n}.{number}", wait_until)
            assert number > 3
            assert sick.metric("queue_bytes") < 32 << 20
            mend()
        wait_until(lambda: sick.is_equal() and well.is_equal(), 30, "both have the table", 0.05)
        wait_until(lambda: sick.metric("lag_seconds") == 0, what="it has caught up")
        assert sick.metric("dead_letters_total") == 0
        process.stop()
    finally:
        sick.close()


@pytest.mark.parametrize("kind", [Strings, Table, Index], ids=["redis", "view", "opensearch"])
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_sink_that_was_set_back_is_equal_in_the_end(kind, running, db, request, freshet, cli, unique, wait_until):
    db.execute(USERS)
    fill(db, 300)
    sink = kind(request, db, unique)
    try:
        process = run(freshet, db, [sink])
        wait_until(sink.is_equal, 40, "the sink equals the table", 0.1)
        sink.back_up()
        lsn = db.lsn()
        db.execute_many("UPDATE users SET name = 'later' WHERE id < 100", "DELETE FROM users WHERE id > 250")
        wait_until(sink.is_equal, 40, "the sink equals the table", 0.1)
        confirmed = f"SELECT confirmed_flush_lsn > %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'freshet_{sink.name}'"
        wait_until(lambda: db.value(confirmed, [lsn]), 30, "the slot is past that")
        if not running:
            process.stop()
        sink.set_back()
        db.execute("UPDATE users SET age = 7 WHERE id = 3")
        if not running:
            process.start(wait=False)
        wait_until(sink.is_equal, 40, "the sink equals the table", 0.1)
        if kind is not Table:
            wait_until(lambda: sink.status()["loaded"], 30, "it is loaded")
            verdict = cli("verify", sink.name, "--admin", f"127.0.0.1:{process.admin_port}")
            assert verdict.returncode == 0, verdict.stdout + verdict.stderr
        process.stop()
    finally:
        sink.close()
