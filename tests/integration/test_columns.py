"""Chosen and renamed columns of a connector's table: the same in the load, the stream, from Kafka, and when it is verified."""

import json

import pytest
from test_connector_kafka import group  # noqa: F401: a fixture
from test_opensearch import connect  # noqa: F401: a fixture
from test_rebuild import rebuild
from test_redis_connector import contents
from test_verify_connector import verify  # noqa: F401: a fixture
from test_view import rows, view  # noqa: F401: a fixture

USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, note text)"
FILL = "INSERT INTO users SELECT i, 'name ' || i, i || '@b', repeat(md5(i::text), 200) FROM generate_series(1, 300) i"
COLUMNS = ["note", {"id": "user_id"}, {"email": "mail"}]
CHOSEN = "SELECT id AS user_id, email AS mail, note FROM users ORDER BY id"


def change(db):
    """Among it: large values that are not in the stream, changed keys, and changes of what is not chosen."""
    db.execute_many(
        "UPDATE users SET email = 'new' WHERE id < 20",
        "UPDATE users SET name = 'other' WHERE id = 30",
        "UPDATE users SET id = id + 1000 WHERE id IN (40, 41)",
        "DELETE FROM users WHERE id = 50",
        "INSERT INTO users VALUES (5000, 'n', NULL, 'x')",
    )


class Redis:
    """One Freshet that keeps the chosen columns in a Redis."""

    def __init__(self, freshet, db, client, unique, **options):
        self.db, self.client, self.name = db, client, unique
        port = client.get_connection_kwargs()["port"]
        one = {"name": unique, "type": "redis", "url": f"redis://127.0.0.1:{port}", "table": "public.users",
               "key": "users:{user_id}", "columns": COLUMNS, **options}
        self.freshet = freshet(db, {"roles": ["connectors"], "connectors": [one]}, start=False)
        self.freshet.config["state_dir"] = str(self.freshet.folder / "state")
        self.freshet.write_config()
        self.freshet.start(wait=False)

    def is_equal(self, sql=CHOSEN):
        wanted = {f"users:{row['user_id']}": row for row in self.db.rows(sql)}
        assert contents(self.client, "users:") == wanted
        return True


def test_a_redis_has_the_chosen_columns_and_is_verified_by_them(db, redis_server, freshet, unique, wait_until, verify):
    db.execute(USERS)
    db.execute(FILL)
    one = Redis(freshet, db, redis_server, unique)
    wait_until(one.is_equal, 30, "the load has the columns")
    change(db)
    wait_until(one.is_equal, 30, "the stream has them")
    verdict = verify(one)
    assert (verdict.code, verdict.found) == (0, {}), verdict.text
    redis_server.set("users:7", json.dumps({"user_id": 7}))
    redis_server.delete("users:8")
    assert verify(one, "--repair").found == {"7": "changed", "8": "missing"}
    assert one.is_equal()


def test_another_choice_is_loaded_anew(db, redis_server, freshet, unique, wait_until):
    db.execute(USERS)
    db.execute(FILL)
    one = Redis(freshet, db, redis_server, unique)
    wait_until(one.is_equal, 30, "the load has the columns")
    one.freshet.stop()
    one.freshet.config["connectors"][0]["columns"] = {"id": "user_id", "name": "name"}
    one.freshet.write_config()
    one.freshet.start(wait=False)
    wait_until(lambda: one.is_equal("SELECT id AS user_id, name FROM users"), 30, "the other columns")
    one.freshet.stop()
    one.freshet.start(wait=False)
    db.execute("UPDATE users SET name = 'last' WHERE id = 1")
    wait_until(lambda: one.is_equal("SELECT id AS user_id, name FROM users"), 30, "and the stream")
    assert one.freshet.metric("freshet_connector_loads_total", connector=unique) == 0


def test_a_view_table_has_them_under_their_types(db, view):
    db.execute(USERS)
    db.execute(FILL)
    copy = view("SELECT note, id AS user_id, email AS mail FROM users ORDER BY id", "SELECT * FROM copy ORDER BY user_id",
                table="public.users", columns=COLUMNS)
    copy.wait_equal()
    change(db)
    db.execute("ALTER TABLE users ADD COLUMN more int DEFAULT 1")
    db.execute("UPDATE users SET more = 2, email = 'after' WHERE id = 60")
    copy.wait_equal()
    types = rows(db, "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'copy'")
    assert dict(types) == {"note": "text", "user_id": "bigint", "mail": "text"}
    assert copy.letters() == []


def test_an_index_is_rebuilt_with_them(db, connect, opensearch, wait_until, verify):
    db.execute(USERS)
    db.execute(FILL)
    search = connect(columns=["id", {"name": "title"}], rebuild_grace="500ms")

    def is_equal():
        assert search.documents() == {str(row["id"]): row for row in db.rows("SELECT id, name AS title FROM users")}
        return True

    try:
        wait_until(is_equal, 30, "the load has the columns", 0.1)
        fields = opensearch.describe(search.index)["mappings"]["properties"]
        assert fields.keys() == {"id", "title"}
        rebuild(search)
        db.execute("UPDATE users SET name = 'other' WHERE id = 30")
        wait_until(is_equal, 30, "and the new index", 0.1)
        verdict = verify(search)
        assert (verdict.code, verdict.found) == (0, {}), verdict.text
    finally:
        opensearch.delete_index(f"{search.index}-1")


def test_from_kafka_they_are_the_same(db, group, redis_server, wait_until):
    db.execute(USERS)
    db.execute(FILL)
    g = group()
    g.join(columns=COLUMNS, key="users:{user_id}")
    one = Redis.__new__(Redis)
    one.db, one.client = db, redis_server
    wait_until(one.is_equal, 60, "the topic's rows have the columns", 0.1)
    change(db)
    wait_until(one.is_equal, 60, "and its changes", 0.1)


@pytest.mark.parametrize(
    "columns, place, text",
    [
        (["id", "nmae"], "[1]", 'there is no column "nmae" in public.users'),
        (["name"], None, 'column "id" is of the key of public.users, and must be among them'),
        (["id", "name", {"email": "name"}], "[2]", 'two columns would be called "name"'),
        (["id", "twice"], "[1]", 'column "twice" of public.users is generated'),
        (["id", "id"], "[1]", '"id" stands there twice'),
    ],
)
def test_a_wrong_choice_is_told_with_its_place(cli, db, tmp_path, columns, place, text):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, name text, email text, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    lines = [f"      - {json.dumps(column)}" for column in columns]
    head = ["roles: [connectors]", "connectors:", "  - name: a", "    type: webhook", "    url: http://127.0.0.1:9",
            "    table: public.users", "    columns:"]
    path = tmp_path / "freshet.yml"
    path.write_text("\n".join(head + lines) + "\n")
    ran = cli("check", "--database", db.url, "-c", str(path), "--set", f"state_dir={tmp_path}")
    line = 8 + int(place[1]) if place else 7
    column = 9 if place else 5
    assert ran.returncode != 0
    assert f"freshet.yml:{line}:{column}: " in ran.stdout + ran.stderr and text in ran.stdout + ran.stderr, ran.stdout + ran.stderr
