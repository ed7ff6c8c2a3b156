"""The Redis connector: strings, hashes and sets that stay equal to a table, whatever happens to either side."""

import json

import pytest

from support import writers
from support.redisserver import RedisServer
from support.stallproxy import StallProxy
from test_tls import Authority
from test_verify_connector import verify  # noqa: F401: a fixture

USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name text, country text, score float8)"
BY_COUNTRY = {"as": "sorted-set", "key": "users:by_country:{country}", "score": "score"}


def fill(db, n, first=1):
    db.execute(
        "INSERT INTO users SELECT i, 'name ' || i, (ARRAY['DE','FR','IT'])[i %% 3 + 1], i / 4.0"
        " FROM generate_series(%s::bigint, %s::bigint) i",
        [first, first + n - 1],
    )


def contents(client, prefix=""):
    """Everything but the connector's own keys, as Python values."""
    keys = [key for key in client.scan_iter(f"{prefix}*", count=1000) if not key.startswith("freshet:")]
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
    readers = {
        "string": lambda pipe, key: pipe.get(key),
        "hash": lambda pipe, key: pipe.hgetall(key),
        "set": lambda pipe, key: pipe.smembers(key),
        "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    }
    # A key may go between the two looks; so another look follows.
    kinds = [(key, kind) for key, kind in zip(keys, pipe.execute()) if kind in readers]
    for key, kind in kinds:
        readers[kind](pipe, key)
    shaped = {"zset": dict, "string": json.loads}
    values = pipe.execute()
    return {key: shaped.get(kind, lambda same: same)(value) for (key, kind), value in zip(kinds, values) if value}


class Connector:
    """One Freshet that runs one connector into `server`, and what is asked of it."""

    def __init__(self, freshet, db, client, unique, url, start=True, **options):
        self.db, self.client, self.name = db, client, unique
        one = {"name": self.name, "type": "redis", "url": url, "table": "public.users", "key": "users:{id}", **options}
        settings = {"state_dir": "state", "roles": ["connectors"], "connectors": [one]}
        self.kind = one.get("as", "json")
        self.freshet = freshet(db, settings, start=False)
        self.state = self.freshet.folder / "state"
        self.freshet.config["state_dir"] = str(self.state)
        self.freshet.write_config()
        if start:
            self.freshet.start(wait=False)

    def metric(self, name):
        return self.freshet.metric(f"freshet_connector_{name}", connector=self.name)

    def status(self):
        return self.freshet.status()["connectors"][0]

    def letters(self):
        path = self.state / f"{self.name}.deadletters.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def expected(self):
        rows = [row["doc"] for row in self.db.rows("SELECT row_to_json(t) AS doc FROM users t")]
        if self.kind == "json":
            return {f"users:{row['id']}": row for row in rows}
        if self.kind == "hash":
            return {
                f"users:{row['id']}": {name: str(value) for name, value in row.items() if value is not None}
                for row in self.db.rows("SELECT id::text, name, country, score::text FROM users")
            }
        sets = {}
        for row in rows:
            if row["country"] is None or (self.kind == "sorted-set" and row["score"] is None):
                continue
            members = sets.setdefault(f"users:by_country:{row['country']}", {})
            members[str(row["id"])] = row["score"]
        return sets if self.kind == "sorted-set" else {key: set(members) for key, members in sets.items()}

    def is_equal(self):
        """Raises with the first differences, which wait_until shows when the time is up."""
        wanted, found = self.expected(), contents(self.client)
        wrong = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        assert not wrong, f"{len(wrong)} differ: " + "; ".join(
            f"{key}: table {str(wanted.get(key))[:300]}, redis {str(found.get(key))[:300]}" for key in wrong[:2]
        )
        return True

    def rows(self):
        return self.client.hlen(f"freshet:{self.name}:rows")

    def position(self):
        return self.client.hgetall(f"freshet:{self.name}:position")


@pytest.fixture
def make_redis(workshop):
    made = []

    def make(*options, **more):
        made.append(RedisServer(workshop, *options, **more))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def connect(make_redis, freshet, redis_server, db, unique, wait_until):  # no server ends before who writes to it
    def make(server=None, **options):
        client = server.client if server else redis_server
        url = options.pop("url", server.url if server else f"redis://127.0.0.1:{redis_server.get_connection_kwargs()['port']}")
        connector = Connector(freshet, db, client, unique, url, **options)
        connector.wait_equal = lambda timeout=40: wait_until(connector.is_equal, timeout, "Redis equals the table", 0.1)
        return connector

    return make


# ---- what rows become ----


@pytest.mark.parametrize("options", [{}, {"as": "hash"}, {"as": "set", "key": "users:by_country:{country}"}, BY_COUNTRY],
                         ids=["json", "hash", "set", "sorted-set"])
def test_it_is_loaded_and_follows_the_table(db, connect, options):
    db.execute(USERS)
    fill(db, 1500)
    users = connect(**options)
    users.wait_equal()
    db.execute("INSERT INTO users VALUES (5001, 'new', 'DE', 1.5), (5002, NULL, NULL, NULL)")
    db.execute("UPDATE users SET name = 'changed', score = -1 WHERE id = 7")
    db.execute("UPDATE users SET country = 'ES' WHERE id IN (8, 9)")
    db.execute("UPDATE users SET country = NULL, score = NULL WHERE id = 10")
    db.execute("DELETE FROM users WHERE id = 11")
    db.execute("UPDATE users SET id = 2012 WHERE id = 12")
    users.wait_equal()
    db.execute_many("UPDATE users SET id = id + 10000 WHERE id < 100", "UPDATE users SET country = 'PT' WHERE id > 10050")
    users.wait_equal()
    db.execute_many("TRUNCATE users", "INSERT INTO users VALUES (1, 'again', 'DE', 1)")
    users.wait_equal()
    assert users.rows() == 1
    assert users.metric("loads_total") == 1
    assert users.metric("dead_letters_total") == 0


def test_a_key_of_other_columns_is_followed_whatever_the_replica_identity_tells(db, connect, redis_server, wait_until):
    """Rows that exchange their keys within a transaction, too: what goes, goes before anything is put."""
    db.execute("CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE DEFERRABLE INITIALLY DEFERRED, country text)")
    db.execute("INSERT INTO users SELECT i, i || '@a', 'D:E' FROM generate_series(1, 20) i")
    users = connect(key="{country}/{email}/{id}")

    def equal():
        rows = db.rows("SELECT id, email, country FROM users")
        return contents(redis_server) == {
            f"{row['country'].replace(':', '%3A')}/{row['email']}/{row['id']}": row for row in rows
        }

    wait_until(equal, 20)
    db.execute("UPDATE users SET email = (21 - id) || '@a', country = 'FR'")
    wait_until(equal)
    db.execute("DELETE FROM users WHERE id > 10")
    db.execute("UPDATE users SET id = id + 100")
    wait_until(equal)
    assert users.rows() == 10


def test_strings_expire_a_while_after_their_last_change(db, connect, redis_server):
    db.execute(USERS)
    fill(db, 3)
    users = connect(ttl="1h")
    users.wait_equal()
    assert 3500 < redis_server.ttl("users:1") <= 3600
    redis_server.expire("users:1", 100)
    db.execute("UPDATE users SET name = 'x' WHERE id = 1")
    users.wait_equal()
    assert redis_server.ttl("users:1") > 3500


def test_others_keys_are_left_alone(db, connect, redis_server):
    db.execute(USERS)
    fill(db, 10)
    mine = {"users:by_hand": "1", "users:x": "2", "other": "3"}
    redis_server.mset(mine)
    users = connect()
    users.expected = lambda: Connector.expected(users) | {key: json.loads(value) for key, value in mine.items()}
    users.wait_equal()
    db.execute("TRUNCATE users")
    users.wait_equal()
    assert users.rows() == 0


def test_another_pattern_moves_everything(db, connect, redis_server, wait_until):
    db.execute(USERS)
    fill(db, 50)
    users = connect()
    users.wait_equal()
    users.freshet.stop()
    users.freshet.config["connectors"][0]["key"] = "u:{id}"
    users.freshet.write_config()
    db.execute("DELETE FROM users WHERE id = 3")
    users.freshet.start(wait=False)
    wait_until(lambda: set(contents(redis_server)) == {f"u:{i}" for i in range(1, 51) if i != 3}, 30)
    assert users.metric("loads_total") == 1


def test_a_named_querys_result_is_an_array_of_rows(db, freshet, redis_server, unique, wait_until):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, user_id int, total int)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute("INSERT INTO orders SELECT i, i % 5, i FROM generate_series(1, 20) i")
    query = {"key": "orders_by_user:{user_id}", "sql": "SELECT id, total FROM orders WHERE user_id = $1 ORDER BY id DESC",
             "depends_on": {"orders": ["user_id"]}}
    one = {"name": unique, "type": "redis", "url": f"redis://127.0.0.1:{redis_server.get_connection_kwargs()['port']}",
           "query": "orders_by_user", "key": "orders:{user_id}"}
    f = freshet(db, {"roles": ["connectors"], "cache": {"queries": {"orders_by_user": query}}, "connectors": [one]}, start=False)
    f.config["state_dir"] = str(f.folder / "state")
    f.write_config()
    f.start(wait=False)

    def equal():
        rows = db.rows("SELECT user_id, json_agg(json_build_object('id', id, 'total', total) ORDER BY id DESC) AS doc"
                       " FROM orders GROUP BY 1")
        found = {key: [{"id": row["id"], "total": row["total"]} for row in rows] for key, rows in contents(redis_server).items()}
        assert found == {f"orders:{row['user_id']}": row["doc"] for row in rows}
        return True

    wait_until(equal, 40)
    db.execute("UPDATE orders SET user_id = 9 WHERE id IN (1, 2)")
    db.execute("DELETE FROM orders WHERE user_id = 3")
    wait_until(equal)


# ---- crashes ----


class Writers(writers.Writers):
    """Rows that come, go, change their country and their key."""

    @staticmethod
    def _change(connection, choice, key):
        kind = choice.random()
        country = choice.choice(["DE", "FR", "IT", None])
        if kind < 0.5:
            connection.execute(
                "INSERT INTO users VALUES (%s, 'w', %s, %s)"
                " ON CONFLICT (id) DO UPDATE SET country = excluded.country, score = excluded.score",
                [key, country, choice.randint(0, 1000)],
            )
        elif kind < 0.8:
            connection.execute("DELETE FROM users WHERE id = %s", [key])
        elif kind < 0.9:
            connection.execute("UPDATE users SET id = id + 100000 WHERE id = %s", [key])
        else:
            connection.execute("UPDATE users SET id = id - 100000, country = %s WHERE id = %s + 100000", [country, key])


def test_a_restart_goes_on_where_it_was(db, connect):
    db.execute(USERS)
    fill(db, 100)
    users = connect(**BY_COUNTRY)
    users.wait_equal()
    users.freshet.stop()
    db.execute("UPDATE users SET country = 'ES' WHERE id = 1")
    db.execute("DELETE FROM users WHERE id = 2")
    users.freshet.start(wait=False)
    users.wait_equal()
    assert users.metric("loads_total") == 0
    assert users.metric("indexed_total") == 1
    assert not (users.state / f"{users.name}.position").exists()


def test_rows_and_position_move_in_one_transaction(db, connect, redis_server):
    db.execute(USERS)
    fill(db, 10)
    users = connect()
    users.wait_equal()
    with redis_server.monitor() as monitor:
        db.execute("UPDATE users SET score = 5 WHERE id < 4")
        lsn = db.lsn()
        transaction = []
        for command in (seen["command"] for seen in monitor.listen()):
            transaction = [] if command == "MULTI" else [*transaction, command]
            if command == "EXEC" and any(one.startswith("MSET users:1 ") for one in transaction):
                break
    (position,) = [one.split() for one in transaction if one.startswith(f"HSET freshet:{users.name}:position ")]
    moved_to = position[position.index("end_lsn") + 1]
    assert db.value("SELECT %s::pg_lsn BETWEEN %s::pg_lsn - 100000 AND %s::pg_lsn", [moved_to, lsn, lsn])
    assert any(one.startswith(f"HSET freshet:{users.name}:rows ") for one in transaction)


def test_kill_9_in_mid_load_leaves_no_ghosts(db, connect, wait_until):
    db.execute(USERS)
    fill(db, 30000)
    users = connect(batch="16KiB", **BY_COUNTRY)
    for n in range(2):
        wait_until(lambda: users.metric("indexed_total") > 500, what="it loads")
        users.freshet.kill9()
        # Of what was loaded, and of what was not.
        db.execute("DELETE FROM users WHERE id %% 10 = %s", [n])
        users.freshet.start(wait=False)
    users.wait_equal(60)
    assert users.rows() == 24000


@pytest.mark.parametrize("durable", [True, False], ids=["with its file", "without"])
def test_whatever_is_killed_in_the_midst_of_writers_it_ends_up_equal(db, connect, make_redis, wait_until, durable):
    """With `appendfsync always` a restarted Redis goes on; without a file it is filled anew."""
    db.execute(USERS)
    fill(db, 300)
    server = make_redis(*(["--appendonly", "yes", "--appendfsync", "always"] if durable else []))
    users = connect(server, batch_interval="20ms", **BY_COUNTRY)
    users.wait_equal()
    at_work = Writers(db, keys=300)

    def restart_freshet():
        users.freshet.kill9()
        users.freshet.start(wait=False)

    def restart_redis():
        server.kill9()
        server.start()

    for fault in [restart_freshet, restart_redis, restart_freshet, restart_redis, restart_redis]:
        before = at_work.transactions
        wait_until(lambda: at_work.transactions > before + 50, what="writers write")
        fault()
    at_work.end()
    users.wait_equal(60)
    assert users.metric("dead_letters_total") == 0
    assert users.metric("loads_total") == 0 if durable else users.metric("loads_total") > 0
    assert users.rows() == db.value("SELECT count(*) FROM users WHERE country IS NOT NULL AND score IS NOT NULL")


def test_an_older_state_of_redis_is_filled_anew(db, connect, make_redis, wait_until):
    """Restored from a backup: its position is one from which the slot streams no more."""
    db.execute(USERS)
    fill(db, 100)
    server = make_redis()
    users = connect(server)
    users.wait_equal()
    server.client.save()
    db.execute("UPDATE users SET name = 'later'")
    users.wait_equal()
    lsn = db.lsn()
    wait_until(lambda: db.value("SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                                [lsn, f"freshet_{users.name}"]), what="the slot has moved")
    server.kill9()
    server.start()
    users.wait_equal()
    assert users.metric("loads_total") == 2


@pytest.mark.parametrize("loss", ["flushall", "position"])
def test_lost_data_is_noticed_and_filled_anew(db, connect, redis_server, wait_until, loss):
    """With nothing to write, too."""
    db.execute(USERS)
    fill(db, 100)
    users = connect()
    users.wait_equal()
    lost = redis_server.flushall if loss == "flushall" else lambda: redis_server.delete(f"freshet:{users.name}:position")
    lost()
    users.wait_equal()
    wait_until(lambda: users.position().get("loaded") == "1", 20)
    assert users.metric("loads_total") == 2
    lost()
    db.execute("DELETE FROM users WHERE id = 5")
    users.wait_equal()
    users.freshet.stop()
    lost()
    db.execute("DELETE FROM users WHERE id = 6")
    users.freshet.start(wait=False)
    users.wait_equal()


def test_two_that_write_for_one_connector_do_not_mix(db, connect, redis_server):
    """Somebody else moved the position: nothing is written over that, the session starts over from it."""
    db.execute(USERS)
    fill(db, 10)
    users = connect()
    users.wait_equal()
    redis_server.hset(f"freshet:{users.name}:position", "tag", "somebody else's")
    db.execute("UPDATE users SET name = 'x'")
    users.wait_equal()
    assert "another process writes for this connector" in users.freshet.log_text()
    assert users.metric("loads_total") == 1


# ---- a Redis in trouble ----


def test_slow_and_cut_connections(db, connect, redis_server, wait_until):
    db.execute(USERS)
    fill(db, 300)
    proxy = StallProxy(redis_server.get_connection_kwargs()["port"])
    users = connect(url=f"redis://127.0.0.1:{proxy.port}", batch_interval="20ms", **BY_COUNTRY)
    try:
        users.wait_equal()
        proxy.stall(0.3, 0.05)
        at_work = Writers(db, keys=300)
        for _ in range(8):
            before = at_work.transactions
            wait_until(lambda: at_work.transactions > before + 20, what="writers write")
            proxy.cut()
        proxy.hold()
        before = at_work.transactions
        wait_until(lambda: at_work.transactions > before + 20, what="writers write")
        proxy.let_go()
        at_work.end()
        users.wait_equal(60)
        assert users.metric("loads_total") == 1
    finally:
        users.freshet.close()
        proxy.close()


def test_a_full_redis_is_waited_for(db, connect, make_redis, wait_until):
    """No row is lost for it, and none is a dead letter."""
    db.execute(USERS)
    fill(db, 100)
    server = make_redis()
    users = connect(server)
    users.wait_equal()
    server.client.config_set("maxmemory", 1)
    fill(db, 100, first=101)
    wait_until(lambda: "OOM" in users.status()["last_error"], what="it is told")
    assert server.client.get("users:150") is None
    server.client.config_set("maxmemory", 0)
    users.wait_equal()
    assert users.metric("dead_letters_total") == 0
    assert users.metric("loads_total") == 1


def test_a_key_of_another_type_refuses_its_rows_alone(db, connect, redis_server, wait_until):
    db.execute(USERS)
    fill(db, 30)
    redis_server.rpush("users:by_country:ES", "by hand")
    users = connect(**BY_COUNTRY)
    users.wait_equal()
    db.execute("UPDATE users SET country = 'ES' WHERE id = 3")
    db.execute("UPDATE users SET score = 99 WHERE id = 4")
    wait_until(lambda: users.metric("dead_letters_total") == 1)
    (letter,) = users.letters()
    assert letter["id"] == "3" and "WRONGTYPE" in letter["cause"]
    wait_until(lambda: redis_server.zscore("users:by_country:FR", "4") == 99)
    assert not any(redis_server.zscore(f"users:by_country:{at}", "3") for at in ("DE", "FR", "IT"))
    redis_server.delete("users:by_country:ES")
    db.execute("UPDATE users SET country = 'ES' WHERE id = 5")
    db.execute("UPDATE users SET score = 7 WHERE id = 3")
    users.wait_equal()


def test_nan_is_no_score(db, connect, wait_until, redis_server):
    db.execute(USERS)
    db.execute("INSERT INTO users VALUES (1, 'a', 'DE', 'NaN'), (2, 'b', 'DE', 'Infinity')")
    users = connect(**BY_COUNTRY)
    wait_until(lambda: users.metric("dead_letters_total") == 1)
    wait_until(lambda: contents(redis_server) == {"users:by_country:DE": {"2": float("inf")}})
    assert users.letters()[0]["id"] == "1"


def test_tls_with_a_user_who_may_no_more_than_it_needs(db, connect, make_redis, workshop, wait_until):
    authority = Authority(workshop.make_folder("redis-certificates"))
    certificate, key = authority.sign("server")
    own, own_key = authority.sign("client")
    server = make_redis(
        "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authority.ca,
        scheme="rediss", ssl=True, ssl_ca_certs=str(authority.ca), ssl_certfile=str(own), ssl_keyfile=str(own_key),
    )
    server.client.acl_setuser(
        "freshet", enabled=True, passwords=["+s3cr:et"], keys=["users:*", "freshet:*"], reset_keys=True,
        commands=["+" + name for name in
                  "select watch multi exec hset hget hgetall hmget hlen hscan hdel mset set unlink type zadd zrem sadd srem".split()],
    )
    db.execute(USERS)
    fill(db, 100)
    wrong = connect(server, user="freshet", password="wrong", ca_file=str(authority.ca), certificate_file=str(own),
                    key_file=str(own_key))
    wait_until(lambda: "WRONGPASS" in wrong.status()["last_error"], 20)
    wrong.freshet.stop()
    wrong.freshet.config["connectors"][0]["password"] = "s3cr:et"
    wrong.freshet.write_config()
    wrong.freshet.start(wait=False)
    wrong.wait_equal()
    assert "s3cr:et" not in wrong.freshet.log_text()
    wrong.freshet.stop()
    wrong.freshet.config["connectors"][0].pop("ca_file")
    wrong.freshet.write_config()
    wrong.freshet.start(wait=False)
    wait_until(lambda: "certificate" in wrong.status()["last_error"], 20)


# ---- comparing ----


def test_what_differs_is_named_and_repaired_beside_the_stream(db, connect, verify, redis_server):
    db.execute(USERS)
    fill(db, 700)
    users = connect()
    users.wait_equal()
    rows = f"freshet:{users.name}:rows"
    old, old_entry = redis_server.get("users:11"), redis_server.hget(rows, "11")
    db.execute_many("CHECKPOINT", "UPDATE users SET name = 'of today' WHERE id = 11")
    users.wait_equal()
    assert verify(users).found == {}
    redis_server.delete("users:5")
    redis_server.set("users:7", "somebody else's")
    redis_server.set("users:9999", "nobody's")
    redis_server.set("users:none", "of another")
    redis_server.hset(rows, "8888", "k1 10 users:8888")
    redis_server.set("users:8888", "of a row that is gone")
    redis_server.set("users:11", old)
    redis_server.hset(rows, "11", old_entry)
    expected = {"5": "missing", "7": "changed", "9999": "extra", "8888": "extra", "11": "older"}
    verdict = verify(users)
    assert (verdict.code, verdict.found) == (1, expected), verdict.text
    verdict = verify(users, "--repair")
    assert (verdict.code, verdict.found, verdict.repaired) == (0, expected, set(expected)), verdict.text
    assert redis_server.getdel("users:none") == "of another"
    users.is_equal()
    db.execute_many("UPDATE users SET score = 1000", "DELETE FROM users WHERE id IN (5, 7)", "INSERT INTO users VALUES (9999)")
    users.wait_equal()
    assert verify(users).found == {}
    assert users.metric("loads_total") == 1


@pytest.mark.parametrize("options", [{"as": "hash"}, {"as": "set", "key": "users:by_country:{country}"}, BY_COUNTRY],
                         ids=["hash", "set", "sorted-set"])
def test_hashes_and_sets_are_compared_too(db, connect, verify, redis_server, options):
    db.execute(USERS)
    fill(db, 100)
    db.execute("UPDATE users SET country = NULL WHERE id = 9")
    users = connect(**options)
    users.wait_equal()
    assert verify(users).found == {}
    expected = {"3": "missing", "4": "changed"}
    if users.kind == "hash":
        redis_server.delete("users:3")
        redis_server.hset("users:4", "score", "no")
    elif users.kind == "set":
        redis_server.srem("users:by_country:DE", "3")
        expected = {"3": "missing"}
    else:
        redis_server.zrem("users:by_country:DE", "3")
        redis_server.zadd("users:by_country:FR", {"4": 1000})
    verdict = verify(users, "--repair")
    assert (verdict.code, verdict.found) == (0, expected), verdict.text
    users.is_equal()


# ---- wrong configurations ----


@pytest.mark.parametrize("options, cause", [
    ({"url": "http://127.0.0.1:1"}, "redis://host:port"),
    ({"key": "users:{id"}, "has a { without a }"),
    ({"key": "users:{nobody}"}, 'has no column "nobody"'),
    ({"key": "users:{country}"}, "rows would overwrite one another"),
    ({"as": "sorted-set"}, "needs score"),
    ({"as": "set", "ttl": "1h"}, "ttl goes with"),
    ({"as": "sorted-set", "score": "name"}, "neither a number nor a date"),
])
def test_what_cannot_work_is_told_by_check(db, connect, cli, options, cause):
    db.execute(USERS)
    users = connect(start=False, **options)
    done = cli("check", "-c", str(users.freshet.config_path))
    assert done.returncode != 0
    assert cause in done.stdout + done.stderr, done.stdout + done.stderr
