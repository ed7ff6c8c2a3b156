"""`freshet check` tells what is wrong with a connector, and where it is written, before anything starts."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.process import free_port

TABLES = """CREATE TABLE users (id int PRIMARY KEY, name text, country text);
CREATE TABLE orders (id int PRIMARY KEY, user_id int, total numeric, note text);
ALTER TABLE orders REPLICA IDENTITY FULL;"""
QUERY = {"key": "sums:{user_id}", "sql": "SELECT sum(total) AS total FROM orders WHERE user_id = $1", "shape": "row",
         "depends_on": {"orders": ["user_id"]}}


@pytest.fixture
def check(cli, db, tmp_path):
    """Writes each option of a connector on a line of its own: (exit code, text, line of an option)."""

    def run(*connectors, queries=None, url=None, **config):
        lines, places = ["roles: [connectors]", *(f"{name}: {json.dumps(value)}" for name, value in config.items())], {}
        if queries:
            lines.append(f"cache: {json.dumps({'queries': queries})}")
        lines.append("connectors:")
        for i, connector in enumerate(connectors):
            for name, value in connector.items():
                lead = "- " if name == next(iter(connector)) else "  "
                lines.append(f"  {lead}{name}: {json.dumps(value)}")
                places[i, name] = f"freshet.yml:{len(lines)}:5: "
        path = tmp_path / "freshet.yml"
        path.write_text("\n".join(lines) + "\n")
        ran = cli("check", "--database", url or db.url, "-c", str(path), "--set", f"state_dir={tmp_path}")
        return ran.returncode, ran.stdout + ran.stderr, places

    return run


def connector(**options):
    return {"name": "c", "type": "webhook", "url": "http://127.0.0.1:9", "table": "public.users", **options}


def view(name, into, **source):
    return {"name": name, "type": "view", "into": into, **source}


def found(result, i, option, text):
    """The failure stands on one line, behind its place."""
    code, out, places = result
    assert code != 0, out
    assert any(places[i, option] in line and text in line for line in out.splitlines()), out


# ---- columns, queries ----


@pytest.mark.parametrize(
    "options, option, text",
    [
        ({"type": "redis", "key": "users:{di}"}, "key", 'has no column "di"'),
        ({"type": "redis", "key": "all", "as": "set", "member": "{id}:{nmae}"}, "member", 'has no column "nmae"'),
        ({"type": "redis", "key": "all", "as": "sorted-set", "score": "name"}, "score", "neither a number nor a date"),
        ({"type": "redis", "key": "users:{country}"}, "key", "does not hold {id}"),
        ({"type": "redis", "key": "users:{id}", "columns": [{"id": "user_id"}]}, "key", 'has no column "id"'),
        ({"type": "opensearch", "routing": "shop"}, "routing", 'has no column "shop"'),
        ({"type": "opensearch", "document": "name"}, "document", "is not json or jsonb"),
    ],
)
def test_columns_that_are_not_there(check, db, options, option, text):
    db.execute(TABLES)
    found(check(connector(**options, url="redis://127.0.0.1:9" if options["type"] == "redis" else "http://127.0.0.1:9")), 0, option, text)


@pytest.mark.parametrize(
    "aggregate, entry, text",
    [
        ({"by": ["user_id"], "n": "count", "sum": "sum totl"}, "sum", 'no column "totl" in public.orders'),
        ({"by": ["user_di"], "n": "count"}, "by", 'no column "user_di" in public.orders'),
        ({"by": ["user_id"], "n": "count", "sum": "sum note"}, "sum", 'column "note" is text'),
    ],
)
def test_columns_of_an_aggregate(check, db, tmp_path, aggregate, entry, text):
    db.execute(TABLES)
    result = check(view("t", "public.totals", table="public.orders", aggregate=aggregate))
    line = next(n for n, line in enumerate((tmp_path / "freshet.yml").read_text().splitlines(), 1) if "aggregate" in line)
    assert any(f"freshet.yml:{line}:" in one and f"aggregate.{entry}" in one and text in one for one in result[1].splitlines()), result[1]


@pytest.mark.parametrize(
    "change, text",
    [
        ({"sql": "SELECT sum(totl) AS total FROM orders WHERE user_id = $1"}, 'column "totl" does not exist'),
        ({"sql": "SELEC 1"}, "syntax error"),
        ({"sql": "SELECT 1 AS one"}, "another number of parameters than its key"),
        ({"depends_on": {"orders": ["user_di"]}}, "user_di"),
    ],
)
def test_a_query_that_does_not_prepare(check, db, change, text):
    db.execute(TABLES)
    found(check(view("q", "public.sums", query="sums"), queries={"sums": {**QUERY, **change}}), 0, "query", text)


def test_a_query_whose_columns_a_pattern_does_not_find(check, db):
    db.execute(TABLES)
    redis = {"name": "r", "type": "redis", "url": "redis://127.0.0.1:9", "query": "sums", "key": "sums:{user}"}
    found(check(redis, queries={"sums": QUERY}), 0, "key", 'has no column "user"')


def test_materialized_views_that_are_not_there_or_not_ours(check, db, postgres, unique):
    db.execute(TABLES)
    db.execute("CREATE MATERIALIZED VIEW mine AS SELECT id FROM users; CREATE UNIQUE INDEX ON mine (id)")
    found(check({"name": "r", "type": "refresh", "views": ["public.theirs"]}), 0, "views", "there is no materialized view public.theirs")
    db.execute(f"CREATE ROLE {unique} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {unique}")
    result = check({"name": "r", "type": "refresh", "views": ["public.mine"]}, url=db.server.url(db.name, unique))
    found(result, 0, "views", "its owner alone may refresh it")


# ---- rings ----


def test_view_tables_in_a_ring(check):
    depends = {**QUERY, "depends_on": {"b": ["user_id"]}}
    result = check(
        view("one", "public.b", table="public.a"),
        view("other", "public.unrelated", table="public.a"),
        view("two", "c", query="sums"),
        view("three", "public.a", table="public.c"),
        queries={"sums": depends},
    )
    found(result, 3, "into", "one writes public.b, which two reads; two writes c, which three reads; three writes public.a, which one reads")
    assert result[1].count("closes a ring") == 1, result[1]
    found(check(view("self", "public.a", table="a")), 0, "into", "self writes public.a, which self reads")


def test_no_ring_through_another_database(check):
    other = view("one", "public.a", table="public.a", url="postgres://elsewhere/db")
    assert "closes a ring" not in check(other)[1]


def test_a_target_that_two_would_keep(check):
    found(check(view("one", "public.b", table="a"), view("two", "b", table="c")), 1, "into", "kept by connectors[0], too")
    refresh = {"type": "refresh", "views": ["public.m"]}
    result = check({"name": "one", **refresh}, {"name": "two", "type": "refresh", "views": ["n", "m", "public.n"]})
    found(result, 1, "views", '"m" is refreshed by connectors[0], too')
    found(result, 1, "views", '"public.n" stands there twice')


# ---- rights at the target ----


def test_rights_to_a_view_tables_database(check, db, unique):
    db.execute(TABLES)
    db.execute(f"CREATE ROLE {unique} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {unique}; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    one = view("v", "public.copy", table="public.users", url=db.server.url(db.name, unique))
    found(check(one), 0, "into", "may not make freshet_positions in schema")
    db.execute(f"GRANT CREATE ON SCHEMA public TO {unique}; CREATE TABLE copy (id int PRIMARY KEY, name text)")
    found(check(one), 0, "into", "lacks the right to SELECT, INSERT, UPDATE, DELETE public.copy")
    db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON copy TO {unique}")
    found(check(one), 0, "into", 'lacks the column "country", and its owner alone may add it')
    db.execute(f"ALTER TABLE copy ADD COLUMN country text, ADD COLUMN old int NOT NULL, OWNER TO {unique}")
    found(check(one), 0, "into", 'has a column "old" that is NOT NULL')
    found(check({**one, "into": "nowhere.copy"}), 0, "into", 'there is no schema "nowhere"')
    db.execute("ALTER TABLE copy DROP COLUMN old")
    assert "the view target is there and fits" in check(one)[1]


def test_rights_to_a_redis(check, db, redis_server, unique):
    db.execute(TABLES)
    port = redis_server.get_connection_kwargs()["port"]
    one = {"name": "c", "type": "redis", "table": "public.users", "key": "users:{id}", "user": unique, "password": "secret",
           "url": f"redis://127.0.0.1:{port}"}
    found(check(one), 0, "url", "WRONGPASS")
    reads = ["+select", "+watch", "+hgetall", "+hmget", "+hlen", "+hscan", "+exists"]
    writes = ["+multi", "+exec", "+hset", "+hdel", "+unlink", "+mset", "+set"]
    try:
        redis_server.execute_command("ACL", "SETUSER", unique, "on", ">secret", "~freshet:*", *reads, "+info", "+type")
        found(check(one), 0, "url", "NOPERM")
        redis_server.execute_command("ACL", "SETUSER", unique, *writes)
        found(check(one), 0, "url", "NOPERM")  # of keys
        redis_server.execute_command("ACL", "SETUSER", unique, "~users:*")
        assert "the redis target is there and fits" in check(one)[1]
        redis_server.execute_command("ACL", "SETUSER", unique, "-mset")
        found(check(one), 0, "url", "NOPERM")
        assert redis_server.keys("*") == []
    finally:
        redis_server.execute_command("ACL", "DELUSER", unique)


@pytest.fixture
def refusing():
    """An HTTP server that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"error": {"type": "security_exception", "reason": "no permissions"}}).encode()
            self.send_response(self.server.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [401, 403])
def test_rights_to_a_search_index(check, db, refusing, status):
    db.execute(TABLES)
    refusing.status = status
    found(check(connector(type="opensearch", url=f"http://127.0.0.1:{refusing.server_port}")), 0, "url", str(status))


def test_a_mapping_that_refuses_a_column(check, db, opensearch, unique):
    db.execute(TABLES)
    opensearch.call("PUT", f"/{unique}", json={"mappings": {"properties": {"name": {"type": "integer"}}}})
    try:
        one = connector(type="opensearch", url=opensearch.url, index=unique)
        found(check(one), 0, "index", 'maps "name" as integer')
        renamed = {**one, "columns": ["id", {"name": "title"}]}
        assert "fits" in check(renamed)[1]
    finally:
        opensearch.delete_index(unique)


def test_a_topic_and_brokers(check, db, kafka):
    db.execute(TABLES)
    one = connector(**{"from": "kafka"})
    result = check(one, cdc={"kafka": {"brokers": kafka.brokers}, "prefix": "nothing-there"})
    assert "there is no topic nothing-there.public.users yet" in result[1], result[1]
    away = check(one, cdc={"kafka": {"brokers": f"127.0.0.1:{free_port()}"}})
    found(away, 0, "from", "Kafka")


def test_rights_to_a_topic_and_its_group(check, db, kafka, unique):
    db.execute(TABLES)
    kafka.create_topic(f"{unique}.public.users")
    brokers, properties = kafka.door("plain")
    one = connector(**{"from": "kafka", "group": unique})
    cdc = {"kafka": {"brokers": brokers, "properties": properties}, "prefix": unique}
    kafka.allow("plain", "topic", f"{unique}.", "READ", "DESCRIBE")
    found(check(one, cdc=cdc), 0, "from", "GROUP_AUTHORIZATION_FAILED")
    kafka.allow("plain", "group", unique, "READ")
    assert f"topic {unique}.public.users can be read" in check(one, cdc=cdc)[1]
    kafka.deny("plain", "topic", f"{unique}.", "READ", "DESCRIBE")
    found(check(one, cdc=cdc), 0, "from", "TOPIC_AUTHORIZATION_FAILED")


def test_rights_to_a_topic_of_dead_letters(check, db, kafka, unique):
    db.execute(TABLES)
    brokers, properties = kafka.door("plain")
    one = {"name": "c", "type": "archive", "path": f"/tmp/{unique}", "table": "public.users", "dead_letter_topic": f"{unique}.letters"}
    cdc = {"kafka": {"brokers": brokers, "properties": properties}}
    found(check(one, cdc=cdc), 0, "dead_letter_topic", "TOPIC_AUTHORIZATION_FAILED")  # it is not there, and may not be made
    kafka.create_topic(f"{unique}.letters")
    kafka.allow("plain", "topic", f"{unique}.", "DESCRIBE")
    assert "whether it may be written to is not known" in check(one, cdc=cdc)[1]
    kafka.allow("plain", "transactional_id", "freshet-probe-", "WRITE")
    found(check(one, cdc=cdc), 0, "dead_letter_topic", "TOPIC_AUTHORIZATION_FAILED")
    kafka.allow("plain", "topic", f"{unique}.", "WRITE")
    assert f"dead_letter_topic {unique}.letters can be written to" in check(one, cdc=cdc)[1]
    kafka.deny("plain", "topic", f"{unique}.", "DESCRIBE", "WRITE")
    kafka.deny("plain", "transactional_id", "freshet-probe-", "WRITE")
