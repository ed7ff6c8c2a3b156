"""The OpenSearch connector: an index that stays equal to its table, whatever happens to either side."""

import base64
import json
import random

import pytest

from support.faultproxy import FaultProxy
from support.writers import USERS, Writers, fill


@pytest.fixture
def proxy(opensearch):
    proxy = FaultProxy(opensearch.url)
    yield proxy
    proxy.close()


class Connector:
    """One Freshet that runs one connector, and what is asked of it."""

    def __init__(self, freshet, opensearch, db, index, table="public.users", url=None, start=True, config=None, **options):
        self.db, self.opensearch, self.index, self.table = db, opensearch, index, table
        self.name = "search"
        settings = {
            "state_dir": "state",
            "roles": ["connectors"],
            "connectors": [
                {
                    "name": self.name,
                    "type": "opensearch",
                    "url": url or opensearch.url,
                    "table": table,
                    "index": index,
                    "slot": f"{index}_slot",
                    **options,
                }
            ],
        }
        settings["connectors"] = [{key: value for key, value in one.items() if value is not None} for one in settings["connectors"]]
        settings.update(config or {})
        self.freshet = freshet(db, settings, start=False)
        # Below its own folder, wherever the process runs.
        self.state = self.freshet.folder / "state"
        self.freshet.config["state_dir"] = str(self.state)
        self.freshet.write_config()
        if start:
            self.freshet.start(wait=False)

    def metric(self, name):
        return self.freshet.metric(f"freshet_connector_{name}", connector=self.name)

    def status(self):
        return self.freshet.status()["connectors"][0]

    def rows(self):
        """The table as documents: row_to_json by key."""
        return {
            str(row["id"]): row["doc"]
            for row in self.db.rows(f"SELECT id, row_to_json(t) AS doc FROM {self.table} t")
        }

    def documents(self):
        return self.opensearch.documents(self.index)

    def letters(self):
        path = self.state / f"{self.name}.deadletters.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def is_equal(self):
        """Raises with the first differences, which wait_until shows when the time is up."""
        rows, documents = self.rows(), self.documents()
        wrong = [key for key in rows.keys() | documents.keys() if rows.get(key) != documents.get(key)]
        assert not wrong, f"{len(wrong)} differ: " + "; ".join(
            f"{key}: table {str(rows.get(key))[:500]}, index {str(documents.get(key))[:500]}" for key in sorted(wrong)[:2]
        )
        return True


@pytest.fixture
def connect(freshet, opensearch, db, unique, wait_until):
    made = []

    def make(**options):
        connector = Connector(freshet, opensearch, options.pop("db", db), options.pop("index", unique), **options)
        connector.wait_equal = lambda timeout=30: wait_until(connector.is_equal, timeout, "the index equals the table", 0.1)
        made.append(connector)
        return connector

    yield make
    for connector in made:
        opensearch.delete_index(connector.index)


# ---- load, then stream ----


def test_the_index_is_made_and_loaded_and_follows_the_table(db, connect, opensearch):
    db.execute(USERS)
    fill(db, 500)
    search = connect()
    search.wait_equal()
    properties = opensearch.describe(search.index)["mappings"]["properties"]
    assert {name: field["type"] for name, field in properties.items()} == {
        "id": "long", "name": "text", "age": "integer", "note": "text",
    }
    db.execute("INSERT INTO users VALUES (1001, 'new', 1, 'x')")
    db.execute("UPDATE users SET name = 'changed' WHERE id = 7")
    db.execute("DELETE FROM users WHERE id = 8")
    db.execute("UPDATE users SET id = 2009 WHERE id = 9")
    search.wait_equal()
    db.execute_many("UPDATE users SET id = id + 10000 WHERE id < 100", "UPDATE users SET age = 0 WHERE id > 10050")
    search.wait_equal()
    assert search.metric("loads_total") == 1
    assert search.metric("dead_letters_total") == 0


def test_it_is_searchable_by_what_the_mapping_says(db, connect, opensearch):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, name text, price numeric(10,2), at timestamptz)")
    db.execute("INSERT INTO users VALUES (1, 'Quick brown fox', 9.99, '2026-01-01Z'), (2, 'Lazy dog', 10.01, '2026-06-01Z')")
    search = connect()
    search.wait_equal()

    def found(query):
        hits = opensearch.call("POST", f"/{search.index}/_search", json={"query": query})["hits"]["hits"]
        return [hit["_id"] for hit in hits]

    assert found({"match": {"name": "fox"}}) == ["1"]
    assert found({"term": {"name.keyword": "Lazy dog"}}) == ["2"]
    assert found({"range": {"price": {"gt": 10}}}) == ["2"]
    assert found({"range": {"at": {"lt": "2026-03-01"}}}) == ["1"]


ODD_VALUES = {
    "a_bool": ("bool", ["true", "false"]),
    "a_short": ("int2", ["32767"]),
    "a_long": ("int8", ["'-9223372036854775808'"]),
    "a_float": ("float4", ["1.5", "'NaN'", "'-Infinity'"]),
    "a_double": ("float8", ["1e300", "'NaN'", "'Infinity'", "0.1"]),
    "a_numeric": ("numeric", ["12.50", "'NaN'", "123456789012345678901234567890.123456789"]),
    "a_money": ("money", ["'12.30'"]),
    "a_text": ("text", ["''", "E'a \"b\" \\\\ \\n\\t\\u20ac'", "repeat('x', 40000)"]),
    "a_char": ("char(5)", ["'ab'"]),
    "a_name": ("varchar(20)", ["'v'"]),
    "a_uuid": ("uuid", ["'d7e31f01-82ff-41be-8b39-ac65a0365b50'"]),
    "a_date": ("date", ["'2026-11-21'", "'infinity'", "'10000-01-01'", "'0044-03-15 BC'"]),
    "a_time": ("time", ["'23:59:59.123456'"]),
    "a_timestamp": ("timestamp", ["'2026-11-21 07:41:07.123456'", "'-infinity'", "'294276-12-31 23:59:59'"]),
    "a_timestamptz": ("timestamptz", ["'2026-11-21 07:41:07.5+05:30'", "'0044-03-15 12:00:00+00 BC'"]),
    "an_interval": ("interval", ["'1 year 2 days 03:04:05'"]),
    "a_jsonb": ("jsonb", ["'{\"a\": [1, {\"b\": null}]}'", "'[1, 2]'", "'\"x\"'", "'5'", "'null'",
                          "jsonb_build_object('big', repeat('y', 40000))"]),
    "a_json": ("json", ["E'{\"a\":\\n  [1,\\r\\n 2]}'"]),
    "an_enum": ("mood", ["'happy'"]),
    "a_domain": ("posint", ["7"]),
    "an_inet": ("inet", ["'192.168.0.1/24'", "'::1'"]),
    "a_range": ("int4range", ["'[1,5)'", "'empty'"]),
    "a_bit": ("bit(3)", ["'101'"]),
    "a_point": ("point", ["'(1,2)'"]),
    "an_array": ("int[]", ["'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'{}'", "'[0:1]={7,8}'"]),
    "a_texts": ("text[]", ["ARRAY['a', NULL, 'b \"c\" \\ ,{}', 'NULL', '']"]),
    "some_moods": ("mood[]", ["'{happy,NULL}'"]),
    "some_json": ("jsonb[]", ["ARRAY['{\"a\": 1}'::jsonb, '2']"]),
    "some_times": ("timestamp[]", ["'{2026-11-21 07:41:07}'"]),
}


def test_every_type_has_its_json_value_and_no_row_is_refused(db, connect):
    """What PostgreSQL's own row_to_json says, and nothing of it may be more than the mapping takes."""
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    db.execute("CREATE DOMAIN posint AS int CHECK (VALUE > 0)")
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in ODD_VALUES.items())
    db.execute(f"CREATE TABLE users (id serial PRIMARY KEY, {columns})")

    def insert():
        db.execute("INSERT INTO users DEFAULT VALUES")
        for name, (kind, values) in ODD_VALUES.items():
            for value in values:
                db.execute(f"INSERT INTO users ({name}) VALUES ({value}::{kind})")

    insert()
    search = connect()
    as_text = ["a_point", "a_range", "a_bit", "a_money"]

    def expected():
        texts = ", ".join(f"'{c}', {c}::text" for c in as_text)
        rows = db.rows(f"SELECT id, row_to_json(t) AS doc, jsonb_build_object({texts}) AS texts FROM users t")
        return {str(row["id"]): row["doc"] | row["texts"] for row in rows}

    db.execute("SET timezone = 'UTC'")
    search.rows = expected
    search.wait_equal()
    insert()  # the same through the stream
    search.wait_equal()
    assert search.metric("dead_letters_total") == 0


def test_bytea_is_base64(db, connect, wait_until):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, raw bytea)")
    db.execute("INSERT INTO users VALUES (1, %s)", [bytes(range(256))])
    search = connect()
    wait_until(lambda: search.documents() == {"1": {"id": 1, "raw": base64.b64encode(bytes(range(256))).decode()}})


def test_composite_and_odd_keys_are_ids_as_the_cache_writes_keys(db, connect, wait_until):
    db.execute("CREATE TABLE users (b text, a int, v int, PRIMARY KEY (a, b))")
    db.execute("INSERT INTO users VALUES ('x:y%z', 1, 1), ('', 2, 2)")
    search = connect()
    wait_until(lambda: set(search.documents()) == {"1:x%3Ay%25z", "2:"})
    db.execute("DELETE FROM users WHERE a = 1")
    db.execute("UPDATE users SET b = 'q' WHERE a = 2")
    wait_until(lambda: search.documents() == {"2:q": {"b": "q", "a": 2, "v": 2}})


def test_a_publication_that_is_shared_is_left_as_it_is(db, connect):
    db.execute(USERS)
    db.execute("CREATE TABLE other (id int PRIMARY KEY)")
    db.execute("CREATE PUBLICATION everybodys FOR TABLE users, other")
    fill(db, 3)
    search = connect(publication="everybodys")
    search.wait_equal()
    db.execute("INSERT INTO other VALUES (1)")
    db.execute("UPDATE users SET age = 5")
    search.wait_equal()
    assert db.value("SELECT count(*) FROM pg_publication_tables WHERE pubname = 'everybodys'") == 2


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX users_code"])
def test_other_replica_identities_are_followed(db, connect, wait_until, identity):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, code text NOT NULL, v text)")
    db.execute("CREATE UNIQUE INDEX users_code ON users (code)")
    db.execute(f"ALTER TABLE users REPLICA IDENTITY {identity}")
    db.execute("INSERT INTO users VALUES (1, 'a', 'x'), (2, 'b', 'y')")
    search = connect()
    key = "code" if "INDEX" in identity else "id"

    def equal():
        return search.documents() == {str(row[key]): row for row in db.rows("SELECT * FROM users")}

    wait_until(equal)
    db.execute("UPDATE users SET code = 'c', v = 'z' WHERE id = 1")
    db.execute("UPDATE users SET id = 5 WHERE id = 2")
    wait_until(equal)
    db.execute("DELETE FROM users WHERE id = 5")
    wait_until(equal)


def test_a_partitioned_table_and_names_that_need_quotes(db, connect, wait_until):
    db.execute('CREATE SCHEMA "Sales"')
    db.execute('CREATE TABLE "Sales"."Order Lines" ("Id" int PRIMARY KEY, "the ""text" text) PARTITION BY RANGE ("Id")')
    for n in range(3):
        db.execute(f'CREATE TABLE part{n} PARTITION OF "Sales"."Order Lines" FOR VALUES FROM ({n * 10}) TO ({n * 10 + 10})')
    db.execute('ALTER TABLE part1 ALTER COLUMN "the ""text" SET STORAGE EXTERNAL')
    db.execute('INSERT INTO "Sales"."Order Lines" SELECT i, repeat(\'x\', 3000) FROM generate_series(0, 29) i')
    search = connect(table="Sales.Order Lines")

    def equal():
        return search.documents() == {str(row["Id"]): row for row in db.rows('SELECT * FROM "Sales"."Order Lines"')}

    wait_until(equal, 30)
    db.execute('DELETE FROM "Sales"."Order Lines" WHERE "Id" = 5')
    db.execute('UPDATE "Sales"."Order Lines" SET "Id" = 5 WHERE "Id" = 15')
    db.execute('UPDATE "Sales"."Order Lines" SET "the ""text" = \'y\' WHERE "Id" = 16')
    wait_until(equal)
    db.execute('TRUNCATE "Sales"."Order Lines"')
    wait_until(equal)


def test_truncate_empties_the_index_and_what_comes_after_stays(db, connect):
    db.execute(USERS)
    fill(db, 5000)
    search = connect()
    search.wait_equal()
    db.execute_many("TRUNCATE users", "INSERT INTO users VALUES (1, 'again', 1, NULL), (9999, 'new', 2, NULL)")
    search.wait_equal()
    assert len(search.documents()) == 2
    db.execute("TRUNCATE users")
    search.wait_equal()
    assert search.documents() == {}


def test_a_new_column_is_mapped_and_a_dropped_one_goes(db, connect, opensearch):
    db.execute(USERS)
    fill(db, 3)
    search = connect()
    search.wait_equal()
    db.execute("ALTER TABLE users ADD COLUMN born date")
    db.execute("UPDATE users SET born = '1990-05-01'")
    search.wait_equal()
    properties = opensearch.describe(search.index)["mappings"]["properties"]
    assert properties["born"]["type"] == "date"
    db.execute("ALTER TABLE users DROP COLUMN born")
    db.execute("UPDATE users SET age = 1")
    search.wait_equal()


def test_a_large_value_that_an_update_leaves_alone_is_kept(db, connect):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, name text, big text)")
    db.execute("ALTER TABLE users ALTER COLUMN big SET STORAGE EXTERNAL")
    db.execute("INSERT INTO users SELECT i, 'a', repeat(i::text, 3000) FROM generate_series(1, 20) i")
    search = connect()
    search.wait_equal()
    db.execute("UPDATE users SET name = 'b'")
    search.wait_equal()
    assert search.metric("reread_rows_total") >= 20
    db.execute_many("UPDATE users SET name = 'c' WHERE id = 1", "DELETE FROM users WHERE id = 1")
    db.execute("UPDATE users SET id = 100 WHERE id = 2")
    search.wait_equal()


def test_a_row_read_again_in_the_visibility_gap_is_not_the_old_one(make_postgres, connect, wait_until):
    db = make_postgres().create_database()
    db.execute("CREATE TABLE users (id int PRIMARY KEY, name text, big text)")
    db.execute("ALTER TABLE users ALTER COLUMN big SET STORAGE EXTERNAL")
    db.execute("INSERT INTO users VALUES (1, 'old', repeat('x', 10000))")
    search = connect(db=db)
    search.wait_equal()
    with db.commit_held("UPDATE users SET name = 'new' WHERE id = 1"):
        wait_until(lambda: search.metric("retries_total") > 0, what="the row is waited for")
        assert search.documents()["1"]["name"] == "old"
    wait_until(lambda: search.documents()["1"]["name"] == "new")
    assert len(search.documents()["1"]["big"]) == 10000


def test_many_changes_of_one_key_cost_few_writes(db, connect):
    db.execute(USERS)
    fill(db, 1)
    search = connect(batch_interval="300ms")
    search.wait_equal()
    for i in range(1000):
        db.execute("UPDATE users SET age = %s WHERE id = 1", [i])
    search.wait_equal()
    assert search.metric("coalesced_total") + search.metric("indexed_total") == 1001
    assert search.metric("indexed_total") < 200


# ---- crashes ----


def test_a_restart_goes_on_where_it_was(db, connect):
    db.execute(USERS)
    fill(db, 100)
    search = connect()
    search.wait_equal()
    search.freshet.stop()
    db.execute("UPDATE users SET age = 99 WHERE id = 1")
    db.execute("DELETE FROM users WHERE id = 2")
    search.freshet.start(wait=False)
    search.wait_equal()
    assert search.metric("loads_total") == 0
    assert search.metric("indexed_total") == 1


def test_kill_9_in_mid_load_leaves_an_equal_index_and_no_ghosts(db, connect, proxy, wait_until):
    db.execute(USERS)
    fill(db, 12000)
    search = connect(url=proxy.url, batch="32KiB")
    for n in range(3):
        wait_until(lambda: search.metric("indexed_total") > 1000, what="it loads")
        search.freshet.kill9()
        # Of what was loaded, and of what was not.
        db.execute("DELETE FROM users WHERE id %% 10 = %s", [n])
        search.freshet.start(wait=False)
    search.wait_equal(60)
    db.execute("DELETE FROM users WHERE id < 1000")
    search.wait_equal()


def test_kill_9_under_writers_leaves_an_equal_index(db, connect, wait_until):
    db.execute(USERS)
    fill(db, 500)
    search = connect(batch_interval="20ms")
    writers = Writers(db)
    choice = random.Random(7)
    for n in range(8):
        before = writers.transactions
        wait_until(lambda: writers.transactions > before + 100, what="writers write")
        if n > 1:
            wait_until(lambda: search.status()["loaded"], what="it is loaded")
            done = search.metric("batches_total") + choice.randint(0, 6)
            wait_until(lambda: search.metric("batches_total") > done, what="some batches more")
        search.freshet.kill9()
        search.freshet.start(wait=False)
    writers.end()
    search.wait_equal(60)
    assert search.metric("loads_total") == 0


def test_rows_after_a_truncate_survive_its_replay(db, connect, proxy, wait_until):
    """The rows behind the TRUNCATE are in the index, their answer never came, and all of it is replayed."""
    db.execute(USERS)
    fill(db, 10)
    search = connect(url=proxy.url)
    search.wait_equal()
    cut = []

    def cut_after_forwarding(request, forward):
        if "_bulk" not in request.path or b'"index"' not in request.body:
            return None
        cut.append(forward())
        return proxy.CUT

    proxy.faults.append(cut_after_forwarding)
    db.execute_many("TRUNCATE users", "INSERT INTO users SELECT i, 'after', 1, NULL FROM generate_series(1, 5) i")
    wait_until(lambda: cut)
    search.freshet.kill9()
    proxy.clear()
    search.freshet.start(wait=False)
    wait_until(lambda: search.metric("stale_total") >= 5, what="the replay")
    search.wait_equal()
    assert len(search.documents()) == 5


def test_whatever_fails_in_the_midst_of_writers_the_index_ends_up_equal(db, connect, opensearch, wait_until):
    """Truncates, moved keys and large values, while each part fails in turn."""
    db.execute(USERS)
    db.execute("ALTER TABLE users ALTER COLUMN note SET STORAGE EXTERNAL")
    db.execute("INSERT INTO users SELECT i, 'n', i, repeat('x', 3000) FROM generate_series(1, 300) i")
    search = connect(batch_interval="30ms", batch="64KiB")
    search.wait_equal()

    def restart(meanwhile=lambda: None):
        search.freshet.kill9()
        meanwhile()
        search.freshet.start(wait=False)

    faults = [
        restart,
        lambda: db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
                           [f"{search.index}_slot"]),
        lambda: opensearch.delete_index(search.index),
        lambda: restart((search.state / "search.position").unlink),
        lambda: db.execute_many("TRUNCATE users", "INSERT INTO users SELECT i, 'n', i, 'y' FROM generate_series(1, 300) i"),
        lambda: restart(lambda: opensearch.delete_index(search.index)),
        restart,
    ]
    writers = Writers(db, keys=300)
    for fault in faults:
        before = writers.transactions
        wait_until(lambda: writers.transactions > before + 30, what="writers write")
        fault()
    writers.end()
    db.execute("INSERT INTO users VALUES (0, 'the last', 0, '')")  # even an index that nobody writes to is missed then
    search.wait_equal(60)
    assert search.metric("dead_letters_total") == 0


# ---- a sink in trouble ----


def test_opensearch_away_for_a_while_delays_nobody_else(opensearch, shop, freshet, wait_until, unique):
    config = {
        "cdc": {"output": "stdout", "tables": ["public.customers"], "snapshot": "never"},
        "roles": ["cache", "cdc", "connectors"],
    }
    often = {"breaker_failures": 3, "breaker_pause": "500ms"}
    search = Connector(freshet, opensearch, shop, unique, table="public.customers", config=config, **often)
    search.freshet.wait_ready()
    try:
        wait_until(search.is_equal, 30, "the index equals the table", 0.1)
        opensearch.process.kill9()
        shop.execute("UPDATE customers SET name = 'while away' WHERE id = 1")
        wait_until(lambda: search.metric("retrying") == 1, what="it notices")
        for n in range(5):
            name = f"name {n}"
            shop.execute("UPDATE customers SET name = %s WHERE id = 2", [name])
            wait_until(lambda: search.freshet.row("customers:2")["name"] == name, 5, "the cache is fresh")
            wait_until(lambda: search.freshet.events()[-1]["value"]["after"]["name"] == name, 5, "the event is out")
        assert search.freshet.metric("freshet_cache_staleness_seconds") < 2
        wait_until(lambda: search.metric("lag_seconds") > 0.5, what="the lag shows")
        assert opensearch.url in search.status()["last_error"]
        opensearch.start()
        wait_until(search.is_equal, 60, "the index equals the table", 0.1)
        wait_until(lambda: search.metric("lag_seconds") == 0 and search.metric("retrying") == 0, what="no lag")
        assert search.metric("dead_letters_total") == 0
    finally:
        if opensearch.process.exit_code is not None:
            opensearch.start()  # it is the session's
        search.freshet.close()
        opensearch.delete_index(search.index)


@pytest.mark.parametrize("status", [429, 503, 502, 403])
def test_a_request_that_is_put_off_is_repeated(db, connect, proxy, status):
    db.execute(USERS)
    fill(db, 100)
    search = connect(url=proxy.url)
    search.wait_equal()
    proxy.fail(status, 3)
    db.execute("UPDATE users SET age = age + 1")
    search.wait_equal()
    assert search.metric("retries_total") == 3
    assert search.metric("dead_letters_total") == 0


def test_items_that_are_put_off_are_repeated_alone(db, connect, proxy):
    db.execute(USERS)
    fill(db, 10)
    search = connect(url=proxy.url)
    search.wait_equal()
    times = []

    def every_other_item(request, forward):
        if "_bulk" not in request.path or len(times) == 2:
            return None
        times.append(1)
        lines = request.body.decode().splitlines(keepends=True)
        pairs = [lines[i] + lines[i + 1] for i in range(0, len(lines), 2)]
        request.body = "".join(pairs[::2]).encode()
        taken = json.loads(forward()[1])["items"]
        items = []
        for i, pair in enumerate(pairs):
            if i % 2 == 0:
                items.append(taken.pop(0))
            else:
                refused = {"type": "rejected_execution_exception", "reason": "queue full"}
                items.append({"index": {"_id": json.loads(pair.splitlines()[0])["index"]["_id"], "status": 429, "error": refused}})
        return 200, json.dumps({"errors": True, "items": items}).encode()

    proxy.faults.append(every_other_item)
    before = len(proxy.bulks)
    db.execute("UPDATE users SET age = age + 1")
    search.wait_equal()
    assert [body.count(b'"index"') for body in proxy.bulks[before:]] == [10, 5, 2]
    assert search.metric("retries_total") == 2


def test_a_connection_that_is_cut_is_made_again(db, connect, proxy, wait_until):
    db.execute(USERS)
    fill(db, 10)
    search = connect(url=proxy.url)
    search.wait_equal()
    left = [4]

    def cut(request, forward):
        if "_bulk" not in request.path or not left[0]:
            return None
        left[0] -= 1
        if left[0] % 2:
            forward()  # it did arrive
        return proxy.CUT

    proxy.faults.append(cut)
    db.execute("UPDATE users SET age = age + 1")
    wait_until(lambda: left[0] == 0 and search.metric("retrying") == 0, what="all were cut")
    search.wait_equal()
    assert search.metric("retries_total") > 0  # libcurl repeats some by itself
    wait_until(lambda: search.metric("stale_total") == 10, what="what had arrived comes again")


def test_a_refused_document_is_a_dead_letter_and_the_rest_goes_on(db, connect, opensearch, unique, wait_until):
    opensearch.call("PUT", f"/{unique}", json={"mappings": {"properties": {"name": {"type": "integer"}}}})
    db.execute(USERS)
    db.execute("INSERT INTO users VALUES (1, '1', 1, NULL), (2, 'not a number', 2, NULL), (3, '3', 3, NULL)")
    search = connect()
    wait_until(lambda: search.metric("dead_letters_total") == 1)
    wait_until(lambda: set(search.documents()) == {"1", "3"})
    (letter,) = search.letters()
    assert (letter["id"], letter["status"], letter["table"]) == ("2", 400, "users")
    assert letter["cause"]["type"] == "mapper_parsing_exception"
    assert "not a number" in json.dumps(letter["cause"])
    assert letter["document"] == {"id": 2, "name": "not a number", "age": 2, "note": None}
    db.execute("UPDATE users SET name = '22' WHERE id = 2")
    search.wait_equal()
    status = search.status()
    assert (status["dead_letters"], status["dead_letter_file"]) == (1, str(search.state / "search.deadletters.jsonl"))


def test_a_document_that_sinks_its_whole_request_is_found_by_halving(db, connect, proxy, wait_until):
    db.execute(USERS)
    fill(db, 50)
    search = connect(url=proxy.url)
    search.wait_equal()

    def refuse_the_whole(request, forward):
        if "_bulk" in request.path and b"poison" in request.body:
            return 413, b"too large"
        return None

    proxy.faults.append(refuse_the_whole)
    db.execute("UPDATE users SET name = CASE WHEN id = 17 THEN 'poison' ELSE 'fine' END")
    wait_until(lambda: search.metric("dead_letters_total") == 1)
    wait_until(lambda: sum(d["name"] == "fine" for d in search.documents().values()) == 49)
    assert search.letters()[0]["id"] == "17"


def test_an_id_that_is_too_long_does_not_hold_up_the_others(db, connect, wait_until):
    db.execute("CREATE TABLE users (id text PRIMARY KEY, v int)")
    db.execute("INSERT INTO users VALUES (repeat('x', 600), 1), ('', 2), ('b', 3)")
    search = connect()
    wait_until(lambda: set(search.documents()) == {"b"})
    wait_until(lambda: search.metric("dead_letters_total") == 2)
    assert sorted(len(letter["id"]) for letter in search.letters()) == [0, 600]


def test_an_index_that_is_deleted_is_loaded_anew(db, connect, opensearch, wait_until):
    """Even where the server makes an index for whatever is written to it."""
    opensearch.call("PUT", "/_cluster/settings", json={"persistent": {"action.auto_create_index": "true"}})
    try:
        db.execute(USERS)
        fill(db, 100)
        search = connect()
        search.wait_equal()
        opensearch.delete_index(search.index)
        db.execute("UPDATE users SET age = 7 WHERE id = 3")
        search.wait_equal()
        mapping = opensearch.describe(search.index)["mappings"]
        assert mapping["properties"]["age"]["type"] == "integer"
        wait_until(lambda: search.metric("loads_total") == 2)
    finally:
        opensearch.call("PUT", "/_cluster/settings", json={"persistent": {"action.auto_create_index": None}})


def test_an_index_that_vanishes_while_it_is_opened_is_made_again(db, connect, proxy):
    gone = []

    def vanish(request, forward):
        if gone or "_count" not in request.path:
            return None
        gone.append(1)
        return 404, json.dumps({"error": {"type": "index_not_found_exception", "reason": "a test"}, "status": 404}).encode()

    db.execute(USERS)
    fill(db, 3)
    search = connect(url=proxy.url)
    search.wait_equal()
    search.freshet.stop()
    proxy.faults.append(vanish)
    db.execute("DELETE FROM users WHERE id = 1")
    search.freshet.start(wait=False)
    search.wait_equal()
    assert gone


def test_an_index_deleted_while_stopped_is_loaded_anew(db, connect, opensearch):
    db.execute(USERS)
    fill(db, 100)
    search = connect()
    search.wait_equal()
    search.freshet.stop()
    opensearch.delete_index(search.index)
    search.freshet.start(wait=False)
    search.wait_equal()


def test_a_lost_or_damaged_position_means_loading_anew_without_ghosts(db, connect):
    db.execute(USERS)
    fill(db, 100)
    search = connect()
    search.wait_equal()
    position = search.state / "search.position"
    for damage in (lambda: position.write_bytes(position.read_bytes()[:40]), position.unlink):
        search.freshet.kill9()
        damage()
        db.execute("DELETE FROM users WHERE id IN (SELECT min(id) FROM users)")
        db.execute("UPDATE users SET age = age + 1")
        search.freshet.start(wait=False)
        search.wait_equal()
        assert search.metric("loads_total") == 1


def test_an_index_of_another_history_is_made_anew(db, connect, opensearch, wait_until):
    """As after the database was set back: documents with versions that it has not reached."""
    db.execute(USERS)
    fill(db, 100)
    search = connect()
    search.wait_equal()
    search.freshet.stop()
    for key in (7, 1007):
        opensearch.call("PUT", f"/{search.index}/_doc/{key}?version={10**17}&version_type=external", json={"id": key})
    (search.state / "search.position").unlink()
    search.freshet.start(wait=False)
    search.wait_equal()
    wait_until(lambda: search.metric("loads_total") == 2)


def test_an_index_filled_from_another_server_is_made_anew(db, make_postgres, connect, opensearch, unique):
    db.execute(USERS)
    fill(db, 100)
    first = connect(index=unique)
    first.wait_equal()
    first.freshet.stop()
    other = make_postgres().create_database()
    other.execute(USERS)
    fill(other, 3)
    connect(db=other, index=unique).wait_equal()


def test_documents_of_somebody_else_are_left_alone(db, connect, opensearch, unique, wait_until):
    opensearch.call("PUT", f"/{unique}", json={})
    opensearch.call("PUT", f"/{unique}/_doc/mine", json={"precious": True})
    db.execute(USERS)
    fill(db, 3)
    search = connect()
    wait_until(lambda: "did not write" in search.freshet.log_text())
    assert search.documents() == {"mine": {"precious": True}}


def test_user_and_password_are_sent(db, connect, proxy, wait_until):
    def guard(request, forward):
        expected = "Basic " + base64.b64encode(b"ann:s3cret").decode()
        return None if request.headers.get("Authorization") == expected else (401, b"{}")

    proxy.faults.append(guard)
    db.execute(USERS)
    fill(db, 3)
    connect(url=proxy.url, user="ann", password="s3cret").wait_equal()


def test_a_queue_that_is_full_holds_bounded_memory(db, connect, proxy, wait_until):
    db.execute(USERS)
    fill(db, 10)
    search = connect(url=proxy.url, batch="64KiB")
    search.wait_equal()
    proxy.fail(503)
    fill(db, 8000, first=1000)
    wait_until(lambda: search.metric("queue_bytes") > 3 * 64 * 1024, what="the queue fills")
    assert search.metric("queue_bytes") < 8 * 64 * 1024
    assert search.metric("lag_bytes") >= 0
    proxy.clear()
    search.wait_equal(60)
