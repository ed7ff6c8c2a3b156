"""One connector's sink in trouble is nobody else's: the cache, the publisher and the other connectors do not notice."""

import json

import psycopg
import pytest

from support.redisserver import RedisServer
from support.webhook import Receiver
from support.writers import USERS, fill


class Sink:
    """One connector of `users`, and what stands in its target."""

    def __init__(self, db, name, **options):
        self.db, self.name = db, name
        self.config = {"name": name, "table": "public.users", **options}

    def metric(self, name):
        return self.process.metric(f"freshet_connector_{name}", connector=self.name)

    def status(self):
        return next(one for one in self.process.status()["connectors"] if one["name"] == self.name)

    def is_equal(self):
        """Raises with the first differences, which wait_until shows when the time is up."""
        rows = {str(row["id"]): row["doc"] for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
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
        self.server = RedisServer(request.getfixturevalue("workshop"), "--appendonly", "yes", "--appendfsync", "always")
        super().__init__(db, f"{unique}_redis", type="redis", url=self.server.url, key="users:{id}", **options)

    def contents(self):
        keys = list(self.server.client.scan_iter("users:*", count=1000))
        values = self.server.client.mget(keys) if keys else []
        return {key.partition(":")[2]: json.loads(text) for key, text in zip(keys, values) if text}

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


class Index(Sink):
    def __init__(self, request, db, unique, **options):
        self.server, self.index = request.getfixturevalue("opensearch"), unique
        super().__init__(db, f"{unique}_search", type="opensearch", url=self.server.url, index=unique, **options)

    def contents(self):
        return self.server.documents(self.index)

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
