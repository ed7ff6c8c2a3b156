"""What a user says of an OpenSearch index: mapping, settings, aliases, pipeline, routing, the document, and who may connect."""

import http.server
import json
import ssl
import threading

import pytest
import requests

from support.authority import Authority
from support.process import free_port
from support.writers import USERS, fill
from test_opensearch import connect, proxy  # noqa: F401: fixtures


def hits(opensearch, index, query):
    opensearch.call("POST", f"/{index}/_refresh")
    return opensearch.call("POST", f"/{index}/_search", json={"size": 100, "query": query})["hits"]["hits"]


def test_mapping_settings_aliases_and_pipeline(db, connect, opensearch, proxy, tmp_path, unique):
    db.execute(USERS)
    fill(db, 20)
    opensearch.call("PUT", f"/_ingest/pipeline/{unique}", json={"processors": []})  # this server has no processors at all
    file = tmp_path / "users.json"
    file.write_text(json.dumps({
        "settings": {"number_of_shards": 2, "analysis": {"normalizer": {"low": {"type": "custom", "filter": ["lowercase"]}}}},
        "mappings": {"properties": {"name": {"type": "keyword", "normalizer": "low"}}},
    }))
    search = connect(url=proxy.url, mapping=str(file), aliases=[f"{unique}-people"], pipeline=unique)
    search.wait_equal()
    bulks = [path for _, path in proxy.requests if "/_bulk" in path]
    assert bulks and all(f"pipeline={unique}" in path for path in bulks)
    description = opensearch.describe(search.index)
    assert description["settings"]["index"]["number_of_shards"] == "2"
    assert description["mappings"]["properties"]["age"]["type"] == "integer"  # what the file leaves to the columns
    found = hits(opensearch, f"{unique}-people", {"term": {"name": "NAME 7"}})
    assert [hit["_id"] for hit in found] == ["7"]
    db.execute("UPDATE users SET name = 'Changed' WHERE id = 7")
    db.execute("DELETE FROM users WHERE id = 8")
    search.wait_equal()
    assert search.metric("dead_letters_total") == 0


@pytest.fixture
def three_shards(tmp_path):
    file = tmp_path / "shards.json"
    file.write_text('{"settings": {"number_of_shards": 3}}')
    return str(file)


def test_rows_lie_where_their_routing_says_and_move_with_it(db, connect, opensearch, three_shards, wait_until):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, shop text, n int)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute("INSERT INTO orders SELECT i, 'shop ' || i % 7, 0 FROM generate_series(1, 60) i")
    db.execute("INSERT INTO orders VALUES (100, NULL, 0), (101, 'a:b%', 0)")
    search = connect(table="public.orders", routing="shop", mapping=three_shards)

    def as_routed():
        found = hits(opensearch, search.index, {"match_all": {}})
        assert len({hit["_id"] for hit in found}) == len(found), "a document is there twice"
        rows = {str(row["id"]): (row["shop"], row["n"]) for row in db.rows("SELECT * FROM orders")}
        got = {hit["_id"]: (hit["_source"]["shop"], hit["_source"]["n"]) for hit in found}
        assert got == rows
        routings = {hit["_id"]: hit.get("_routing") for hit in found}
        assert routings == {key: shop for key, (shop, _) in rows.items()}
        return True

    wait_until(as_routed, 30)
    db.execute("UPDATE orders SET shop = 'shop ' || (id * 3) % 11, n = 1 WHERE id % 2 = 0")  # some stay in their shard
    db.execute("UPDATE orders SET n = 2 WHERE id % 5 = 0")
    db.execute("DELETE FROM orders WHERE id % 3 = 0")
    db.execute("UPDATE orders SET shop = 'found' WHERE shop IS NULL")
    db.execute("UPDATE orders SET shop = NULL WHERE id = 101")
    wait_until(as_routed, 30)
    db.execute_many("DELETE FROM orders WHERE id = 1", "INSERT INTO orders VALUES (1, 'anew', 3)")
    db.execute("UPDATE orders SET id = 200 WHERE id = 100")
    wait_until(as_routed, 30)
    search.freshet.kill9()
    db.execute("UPDATE orders SET shop = 'away ' || id % 5")
    search.freshet.start(wait=False)
    wait_until(as_routed, 30)
    db.execute("TRUNCATE orders")
    wait_until(as_routed, 30)
    assert search.metric("dead_letters_total") == 0


def test_a_column_that_is_the_document(db, connect, opensearch, wait_until):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, doc jsonb NOT NULL)")
    db.execute("""INSERT INTO docs VALUES (1, '{"title": "One", "parts": [{"n": 1}, {"n": 2}]}')""")
    search = connect(table="public.docs", document="doc")
    wait_until(lambda: search.documents() == {"1": {"title": "One", "parts": [{"n": 1}, {"n": 2}]}}, 30)
    assert [hit["_id"] for hit in hits(opensearch, search.index, {"match": {"parts.n": 2}})] == ["1"]
    db.execute("""UPDATE docs SET doc = '{"title": "Two"}'""")
    wait_until(lambda: search.documents() == {"1": {"title": "Two"}}, 30)


def test_nested_documents_of_a_view(db, connect, opensearch, wait_until, unique):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, customer text)")
    db.execute("CREATE TABLE lines (id int PRIMARY KEY, order_id int, what text)")
    db.execute("ALTER TABLE lines REPLICA IDENTITY FULL")
    db.execute("INSERT INTO orders VALUES (1, 'Ann'), (2, 'Bob')")
    db.execute("INSERT INTO lines VALUES (1, 1, 'tea'), (2, 1, 'milk'), (3, 2, 'bread')")
    sql = ("SELECT o.customer, (SELECT json_agg(json_build_object('what', l.what) ORDER BY l.id) FROM lines l"
           " WHERE l.order_id = o.id) AS lines FROM orders o WHERE o.id = $1")
    queries = {"order_doc": {"key": "order_doc:{id}", "sql": sql, "shape": "row",
                             "depends_on": {"orders": ["id"], "lines": ["order_id"]}}}
    search = connect(table=None, query="order_doc", config={"cache": {"queries": queries}})

    def has(expected):
        documents = search.documents()
        assert documents == expected
        return True

    both = {
        "1": {"id": 1, "customer": "Ann", "lines": [{"what": "tea"}, {"what": "milk"}]},
        "2": {"id": 2, "customer": "Bob", "lines": [{"what": "bread"}]},
    }
    wait_until(lambda: has(both), 30)
    assert [hit["_id"] for hit in hits(opensearch, search.index, {"match": {"lines.what": "milk"}})] == ["1"]
    db.execute("INSERT INTO lines VALUES (4, 2, 'salt')")  # a dependency's new row
    both["2"]["lines"].append({"what": "salt"})
    wait_until(lambda: has(both), 30)
    with db.connect() as early, early.transaction():  # its row is older than one that is committed, and seen, before it
        early.execute("INSERT INTO lines VALUES (5, 2, 'honey')")
        db.execute("INSERT INTO lines VALUES (6, 2, 'jam')")
        both["2"]["lines"].append({"what": "jam"})
        wait_until(lambda: has(both), 30)
    both["2"]["lines"].insert(2, {"what": "honey"})
    wait_until(lambda: has(both), 30)
    db.execute("DELETE FROM orders WHERE id = 1")
    wait_until(lambda: has({"2": both["2"]}), 30)


class Door:
    """An HTTPS server in front of OpenSearch that lets in who has the key."""

    def __init__(self, target, certificate, key, wanted):
        door = self
        self.seen = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                given = self.headers.get("Authorization")
                door.seen.add(given)
                if given == wanted:
                    answer = requests.request(self.command, target + self.path, data=body, timeout=30,
                                              headers={"Content-Type": self.headers.get("Content-Type") or "application/json"})
                    status, content = answer.status_code, answer.content
                else:
                    status, content = 401, b'{"error": {"type": "security_exception", "reason": "missing authentication"}}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = forward

            def log_message(self, *args):
                pass

        port = free_port()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def door(workshop, opensearch):
    authority = Authority(workshop.make_folder("certificates"))
    door = Door(opensearch.url, *authority.sign("search"), wanted="ApiKey c2VjcmV0")
    door.ca = str(authority.ca)
    yield door
    door.close()


def test_tls_with_a_ca_and_an_api_key(db, connect, cli, door):
    db.execute(USERS)
    fill(db, 5)
    search = connect(url=door.url, ca_file=door.ca, api_key="c2VjcmV0")
    search.wait_equal()
    assert door.seen == {"ApiKey c2VjcmV0"}
    assert "c2VjcmV0" not in search.freshet.log_text() and "c2VjcmV0" not in json.dumps(search.status())


def checked(cli, db, tmp_path, **connector):
    config = tmp_path / "freshet.yml"
    lines = ["roles: [connectors]", f"state_dir: {tmp_path}/state", "connectors:", "- name: search", "  type: opensearch"]
    lines += [f"  {key}: {json.dumps(value)}" for key, value in connector.items()]
    config.write_text("\n".join(lines) + "\n")
    ran = cli("check", "-c", config, "--database", db.url)
    places = {key: f"freshet.yml:{6 + i}:" for i, key in enumerate(connector)}
    return ran, places


def test_check_finds_what_cannot_work_with_its_place(db, cli, opensearch, door, tmp_path, unique):
    db.execute(USERS)
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, shop text, doc json)")
    bad = tmp_path / "bad.json"
    bad.write_text('{"mappings": {\n  "properties": {,}\n}}')
    wrong_type = tmp_path / "wrong.json"
    wrong_type.write_text('{"mappings": {"properties": {"name": {"type": "integer"}}}}')
    opensearch.call("PUT", f"/{unique}-taken", json={"mappings": {"properties": {"name": {"type": "integer"}}}})
    opensearch.call("PUT", f"/{unique}-shut", json={"settings": {"index.blocks.write": True}})
    users = {"url": opensearch.url, "table": "public.users", "index": unique}
    orders = {"url": opensearch.url, "table": "public.orders", "index": unique}
    cases = [
        (users | {"mapping": str(tmp_path / "absent.json")}, "mapping", "No such file"),
        (users | {"mapping": str(bad)}, "mapping", "bad.json:2:"),
        (users | {"mapping": str(wrong_type)}, "mapping", '"name" as integer'),
        (users | {"index": f"{unique}-taken"}, "index", '"name" as integer'),
        (users | {"index": f"{unique}-shut"}, "index", "takes no writes"),
        (users | {"index": "Users"}, "index", "lower case"),
        (users | {"aliases": ["Bad"]}, "aliases", "lower case"),
        (users | {"pipeline": f"{unique}-absent"}, "pipeline", "no ingest pipeline"),
        (users | {"url": f"http://127.0.0.1:{free_port()}"}, "url", "connect"),
        (users | {"url": "ftp://search"}, "url", "http"),
        (users | {"url": door.url, "ca_file": door.ca, "api_key": "wrong"}, "url", "401"),
        (users | {"url": door.url, "api_key": "c2VjcmV0"}, "url", "certificate"),
        (users | {"routing": "shop"}, "routing", 'no column "shop"'),
        (orders | {"routing": "shop"}, "routing", "REPLICA IDENTITY FULL"),
        (orders | {"document": "shop"}, "document", "not json"),
        (orders | {"document": "absent"}, "document", 'no column "absent"'),
        (users | {"api_key": "a", "user": "b"}, "api_key", "one of them"),
    ]
    for connector, option, text in cases:
        ran, places = checked(cli, db, tmp_path, **connector)
        said = ran.stdout + ran.stderr
        assert ran.returncode != 0, f"{connector}: {said}"
        assert text in said and places[option] in said, f"{connector}: wanted {text!r} at {places[option]}:\n{said}"
    for index in ("taken", "shut"):
        opensearch.delete_index(f"{unique}-{index}")
    ran, _ = checked(cli, db, tmp_path, **users)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not requests.head(f"{opensearch.url}/{unique}", timeout=30).ok, "check makes nothing"
