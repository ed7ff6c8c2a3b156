"""A connector that is fed from Kafka: a consumer group of the row topic."""

import base64
import json

import pytest

from support.writers import USERS, Writers, fill
from test_verify_connector import Verdict

TYPES = """CREATE TABLE users (id bigint PRIMARY KEY, name text, age int, note text, price numeric(10,2), free numeric,
 born date, at timestamp, seen timestamptz, f float8, r real, b bool, j jsonb, raw bytea, u uuid, tags text[], clock time)"""


def document(row):
    """As row_to_json gives it, but for bytea, which is base64."""
    raw = row.get("raw")
    return {**row, "raw": base64.b64encode(bytes.fromhex(raw[2:])).decode()} if raw else row


def apart(one, other):
    """Only what differs, for a message that can be read."""
    one, other = one or {}, other or {}
    return {name: (one.get(name), other.get(name)) for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


class Group:
    """A publisher, and members of one group that keep `users` in a Redis."""

    def __init__(self, freshet, db, kafka, client, unique, partitions=4):
        self.freshet, self.db, self.client, self.unique, self.kafka = freshet, db, client, unique, kafka
        self.publisher = freshet(
            db,
            {"roles": ["cdc"], "cdc": {"kafka": {"topic_partitions": partitions}, "slot": f"{unique}_cdc"}},
            kafka=kafka,
            prefix=unique,
        )
        self.members = []

    def join(self, wait=True, **options):
        port = self.client.get_connection_kwargs()["port"]
        one = {
            "name": self.unique, "type": "redis", "url": f"redis://127.0.0.1:{port}", "table": "public.users",
            "key": "users:{id}", "from": "kafka", **options,
        }
        config = {"roles": ["connectors"], "cdc": {"slot": f"{self.unique}_cdc"}, "connectors": [one]}
        f = self.freshet(self.db, config, kafka=self.kafka, prefix=self.unique, start=False)
        f.config["state_dir"] = str(f.folder / "state")
        f.write_config()
        f.start(wait=False)
        self.members.append(f)
        return f

    def share(self, member):
        group = member.status()["connectors"][0]["group"]
        return group["partitions"] if group["state"] == "streaming" else 0

    def is_equal(self):
        rows = {f"users:{row['id']}": document(row["doc"]) for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
        keys = list(self.client.scan_iter("users:*", count=1000))
        kept = {key: json.loads(text) for key, text in zip(keys, self.client.mget(keys) if keys else []) if text}
        wrong = sorted(key for key in rows.keys() | kept.keys() if rows.get(key) != kept.get(key))
        assert not wrong, f"{len(wrong)} differ: {str([(key, apart(rows.get(key), kept.get(key))) for key in wrong[:2]])[:900]}"
        return True


@pytest.fixture
def group(freshet, db, kafka, redis_server, unique, wait_until):
    def make(**options):
        made = Group(freshet, db, kafka, redis_server, unique, **options)
        made.wait_equal = lambda timeout=60: wait_until(made.is_equal, timeout, "Redis equals the table", 0.1)
        return made

    return make


def test_rows_of_every_type_come_as_the_table_has_them(db, group):
    db.execute(TYPES)
    db.execute(
        "INSERT INTO users SELECT i, 'n' || i, i, repeat(md5(i::text), 200), i / 7.0, i / 3.0, date '2024-01-01' + i,"
        " timestamp '2024-01-01 00:00' + i * interval '1.5 s', timestamptz '2024-01-01 00:00+02' + i * interval '1 ms',"
        " i / 3.0, i / 3.0, i %% 2 = 0, jsonb_build_object('i', i), decode(md5(i::text), 'hex'), md5(i::text)::uuid,"
        " ARRAY['a', 'b' || i], time '10:00' + i * interval '1 s' FROM generate_series(%s::int, 60) i",
        [1],
    )
    db.execute("INSERT INTO users (id, free) VALUES (100, 'NaN'), (101, NULL)")
    g = group()
    g.join()
    g.wait_equal()
    db.execute("UPDATE users SET age = age + 1 WHERE id < 20")  # notes are not in the stream
    db.execute("ALTER TABLE users ADD COLUMN more text DEFAULT 'x'")
    db.execute_many("UPDATE users SET more = 'y' WHERE id = 5", "DELETE FROM users WHERE id = 6", "UPDATE users SET id = 1007 WHERE id = 7")
    db.execute("UPDATE users SET name = name || '!'")
    g.wait_equal()


def test_two_processes_share_a_group_and_either_may_die(db, group, wait_until, cli, redis_server):
    """And verify sees through what is on its way, in either."""

    def verify(*flags):
        return Verdict(cli("verify", g.unique, "--admin", f"127.0.0.1:{first.admin_port}", *flags))

    db.execute(USERS)
    fill(db, 300)
    g = group()
    writers = Writers(db, rest=0.03)
    first = g.join(batch="4KiB")
    wait_until(lambda: g.share(first) == 4, 40)
    second = g.join(batch="4KiB")
    wait_until(lambda: g.share(first) == 2 and g.share(second) == 2, 40, "both have partitions")
    verdict = verify()
    assert (verdict.code, verdict.found) == (0, {}), verdict.text
    first.kill9()
    wait_until(lambda: g.share(second) == 4, 40, "the other has taken over")
    first.start(wait=False)
    wait_until(lambda: g.share(first) == 2, 40)
    second.stop()  # lets go in order
    wait_until(lambda: g.share(first) == 4, 40)
    writers.end()
    g.wait_equal()
    db.execute("INSERT INTO users SELECT i, 'n', 1, NULL FROM generate_series(300001, 300003) i")
    g.wait_equal()
    redis_server.set("users:300001", "{}")
    redis_server.delete("users:300002")
    redis_server.set("users:300009", '{"id":300009}')
    expected = {"300001": "changed", "300002": "missing", "300009": "extra"}
    verdict = verify("--repair")
    assert (verdict.code, verdict.found, verdict.repaired) == (0, expected, set(expected)), verdict.text
    db.execute("UPDATE users SET age = age + 1 WHERE id > 300000")  # what was repaired is still followed
    g.wait_equal()


def test_a_target_that_lost_its_data_is_filled_from_the_topics_beginning(db, group, redis_server):
    db.execute(USERS)
    fill(db, 200)
    g = group(partitions=1)
    g.join()
    g.wait_equal()
    db.execute_many("DELETE FROM users WHERE id < 10", "UPDATE users SET age = -1 WHERE id = 50")
    g.wait_equal()
    redis_server.flushall()
    db.execute("UPDATE users SET age = -2 WHERE id = 51")
    g.wait_equal()
    db.execute_many("TRUNCATE users", "INSERT INTO users VALUES (1, 'again', 1, NULL)")
    g.wait_equal()


def test_what_belongs_to_a_slot_is_told(db, cli, tmp_path):
    one = (
        "connectors=[{name: a, type: redis, url: 'redis://127.0.0.1:1', table: public.users, key: 'u:{id}', from: kafka,"
        " slot: s}, {name: b, type: redis, url: 'redis://127.0.0.1:1', table: public.users, key: 'u:{id}', group: g}]"
    )
    ran = cli("run", "--database", db.url, "--set", one, "--set", f"state_dir={tmp_path}")
    assert ran.returncode == 2
    assert "connectors[0].slot: is no option of from: kafka" in ran.stderr
    assert "connectors[0].from: is kafka, and cdc.kafka.brokers is not set" in ran.stderr
    assert "connectors[1].group: is no option of from: slot" in ran.stderr
    one = (
        "connectors=[{name: a, type: view, into: public.a, query: q, from: kafka}, {name: b, type: view, into: public.b, from: kafka,"
        " table: public.users, aggregate: {by: [name], n: count}}, {name: c, type: archive, path: /tmp/c, from: kafka, table: public.users}]"
    )
    ran = cli("run", "--database", db.url, "--set", one, "--set", f"state_dir={tmp_path}", "--kafka", "127.0.0.1:1")
    assert "connectors[0].from: is kafka, which needs a table" in ran.stderr
    assert "connectors[1].from: is kafka, and records that come twice would be counted twice" in ran.stderr
    assert "connectors[2].from: is kafka, and records that come twice would be kept twice" in ran.stderr
