"""Rows by their unique columns: `users:email=a@b.c`, `t:a=1,b=2`."""

import json

import pytest
import redis

from support.rows import applied, explain, fills, keep, refusal, state
from support.waiting import wait_until

USERS = """
CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, tenant int, handle text, bio text, UNIQUE (tenant, handle));
INSERT INTO users VALUES (1, 'a@b.c', 1, 'ada', 'old'), (2, 'x:y=z,%2C', 1, 'bob,%', 'b'), (3, NULL, 2, 'ada', 'c'), (4, '', 2, NULL, 'd');
"""


@pytest.fixture
def users(db):
    db.execute(USERS)
    return db


def ident(f, key):
    row = f.row(key)
    return row and row["id"]


# ---- what a key means ----


def test_a_row_is_read_by_any_unique_index(users, freshet):
    f = freshet(users)
    assert ident(f, "users:email=a@b.c") == 1
    assert f.redis.get("users:email=a@b.c") == f.redis.get("users:1")
    assert f.redis.hgetall("users:email=a@b.c") == f.redis.hgetall("users:1")
    assert ident(f, "users:email=x:y=z,%2C") == 2  # one column: as it is
    assert ident(f, "users:tenant=1,handle=ada") == 1
    assert ident(f, "users:handle=ada,tenant=2") == 3  # in any order
    assert ident(f, "users:tenant=1,handle=bob%2C%25") == 2
    assert ident(f, "users:id=2") == 2
    assert ident(f, "users:email=") == 4  # the empty text is no NULL
    assert f.row("users:tenant=2,handle=") is None
    assert f.row("users:email=NULL") is None
    assert [row and json.loads(row)["id"] for row in f.redis.mget("users:email=a@b.c", "users:2", "users:email=none")] == [1, 2, None]
    assert f.redis.exists("users:email=a@b.c", "users:email=none") == 1


def test_what_is_no_unique_key_says_why(users, freshet):
    users.execute(
        "CREATE TABLE soft (id int PRIMARY KEY, email text, name text, gone bool);"
        "CREATE UNIQUE INDEX soft_live ON soft (email) WHERE NOT gone;"
        "CREATE UNIQUE INDEX soft_lower ON soft (lower(name)); CREATE INDEX ON soft (gone)"
    )
    f = freshet(users)

    def failure(key):
        with pytest.raises(redis.ResponseError) as caught:
            f.redis.get(key)
        return str(caught.value)

    assert failure("users:bio=x") == "users: no key by bio: it has no unique index of its own"
    assert failure("users:tenant=1") == "users: no key by tenant: it has no unique index of its own"
    assert failure("users:nosuch=1") == 'users: "nosuch=1" is not an integer (column id)'
    assert failure("users:tenant=x,handle=y") == 'users: "x" is not an integer (column tenant)'
    assert failure("soft:email=x") == "soft: no key by email: it has no unique index of its own"
    assert failure("soft:email=x,gone=f") == "soft: no key by email, gone: the unique index soft_live is partial"
    assert failure("soft:name=x") == "soft: no key by name: the unique index soft_lower is on an expression"


def test_a_text_key_that_looks_like_a_column_is_asked_for_by_its_name(db, freshet):
    db.execute("CREATE TABLE tags (id text PRIMARY KEY, code text UNIQUE, v int)")
    db.execute("INSERT INTO tags VALUES ('code=1', 'c', 1), ('x', '1', 2)")
    f = freshet(db)
    assert f.row("tags:code=1")["v"] == 2
    assert f.row("tags:id=code=1")["v"] == 1
    keep(f, "tags:id=code=1")
    keep(f, "tags:code=1")
    db.execute("UPDATE tags SET v = 10 WHERE id = 'code=1'")
    applied(f, db)
    assert state(f, "tags:code=1") == "resident"  # another row's
    assert f.row("tags:id=code=1")["v"] == 10


def test_the_database_decides_what_is_equal(db, freshet):
    try:
        db.execute("CREATE EXTENSION citext")
    except Exception:  # noqa: BLE001
        pytest.skip("no citext here")
    db.execute(
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
        "CREATE TABLE people (id int PRIMARY KEY, email citext UNIQUE, name text COLLATE blind UNIQUE, price numeric UNIQUE,"
        " seen timestamptz UNIQUE, net cidr UNIQUE, code text COLLATE blind);"
        'CREATE UNIQUE INDEX people_code ON people (code COLLATE "C");'
        "INSERT INTO people VALUES (1, 'Ada@X.org', 'Ada', 1.50, '2026-01-01 10:00+00', '10.0.0.1', 'k')"
    )
    f = freshet(db)
    keys = [
        "people:email=ADA@x.ORG", "people:name=aDA", "people:price=1.5", "people:price=1.500",
        "people:seen=2026-01-01T12:00:00+02:00", "people:net=10.0.0.1/32", "people:net=10.0.0.1",
    ]  # fmt: skip
    for key in keys:
        keep(f, key)
    db.execute("UPDATE people SET code = 'changed'")
    applied(f, db)
    for key in keys:
        assert f.row(key)["code"] == "changed", key
    # What is absent is remembered only where equal values are spelled alike in the change stream.
    for key in ("people:email=Bob@x.org", "people:name=bob"):
        assert f.row(key) is None
        assert state(f, key) == "uncached"
    assert keep(f, "people:seen=2027-01-01T12:00:00+02:00") is None
    assert keep(f, "people:price=2.5") is keep(f, "people:price=02.500") is None
    db.execute("INSERT INTO people VALUES (2, 'BOB@x.org', 'BOB', 2.50, '2027-01-01 10:00Z', '10.0.0.0/8')")
    applied(f, db)
    for key in ("people:email=Bob@x.org", "people:name=bob", "people:price=2.5", "people:price=02.500", "people:seen=2027-01-01T12:00:00+02:00"):
        assert ident(f, key) == 2, key
    # Unique by bytes, compared by letters: two rows could be meant.
    with pytest.raises(redis.ResponseError, match="people_code compares by another rule than its column"):
        f.redis.get("people:code=K")


def test_unique_keys_of_composite_partitioned_and_generated_columns(db, freshet):
    db.execute(
        "CREATE TABLE p (region text, id int, code text, v int, PRIMARY KEY (region, id), UNIQUE (region, code))"
        " PARTITION BY LIST (region);"
        "CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu', 'a=b'); INSERT INTO p VALUES ('eu', 1, 'x', 1), ('a=b', 2, 'y', 2);"
        "CREATE TABLE g (id int PRIMARY KEY, name text, lowered text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE)"
    )
    f = freshet(db)
    assert keep(f, "p:region=eu,code=x")
    assert keep(f, "p:region=eu,code=none") is None
    assert f.row("p:a=b:2")["v"] == f.row("p:id=2,region=a=b")["v"] == 2
    db.execute("UPDATE p SET v = 5; INSERT INTO p VALUES ('eu', 3, 'none', 3)")
    applied(f, db)
    assert f.row("p:region=eu,code=x")["v"] == 5
    assert f.row("p:region=eu,code=none")["v"] == 3
    # Generated columns are not in the stream: that one is absent is not remembered.
    assert f.row("g:lowered=ada") is None
    assert state(f, "g:lowered=ada") == "uncached"
    db.execute("INSERT INTO g VALUES (1, 'ADA')")
    assert ident(f, "g:lowered=ada") == 1


def test_an_index_made_or_dropped_while_running_is_followed(users, freshet):
    f = freshet(users)
    with pytest.raises(redis.ResponseError, match="no key by bio"):
        f.redis.get("users:bio=old")
    users.execute("CREATE UNIQUE INDEX users_bio ON users (bio)")

    def by_bio():
        try:
            return ident(f, "users:bio=old")
        except redis.ResponseError:
            return None

    wait_until(by_bio, what="the new index is known")
    keep(f, "users:bio=old")
    users.execute("UPDATE users SET bio = 'new' WHERE id = 1")
    applied(f, users)
    assert ident(f, "users:bio=new") == 1 and by_bio() is None
    users.execute("DROP INDEX users_bio")
    users.execute("UPDATE users SET bio = 'same'")

    wait_until(lambda: refusal(f, "users:bio=new"), what="the dropped index is known")


# ---- evictions ----


def test_a_change_evicts_the_row_s_unique_keys_by_the_default_identity(users, freshet):
    f = freshet(users)
    keys = ["users:1", "users:email=a@b.c", "users:tenant=1,handle=ada", "users:handle=ada,tenant=1"]
    for key in keys:
        keep(f, key)
        keep(f, key, "HGETALL")
    users.execute("UPDATE users SET bio = 'new' WHERE id = 1")
    applied(f, users)
    for key in keys:
        assert f.row(key)["bio"] == "new", key
        assert f.redis.hget(key, "bio") == "new", key
        keep(f, key)
    users.execute("UPDATE users SET email = 'moved@b.c' WHERE id = 1")
    applied(f, users)
    assert f.row("users:email=a@b.c") is None
    assert f.row("users:tenant=1,handle=ada")["email"] == "moved@b.c"
    keep(f, "users:email=moved@b.c")
    users.execute("DELETE FROM users WHERE id = 1")
    applied(f, users)
    for key in (*keys, "users:email=moved@b.c"):
        assert f.row(key) is None, key


def test_a_change_of_another_row_leaves_it_in_memory(users, freshet):
    f = freshet(users)
    keep(f, "users:email=a@b.c")
    assert keep(f, "users:email=none") is None
    users.execute("UPDATE users SET bio = 'new' WHERE id = 2")
    applied(f, users)
    assert state(f, "users:email=a@b.c") == "resident"
    assert state(f, "users:email=none") == "absent"


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO users VALUES (9, 'new@b.c', 7, 'seven', '')",
        "UPDATE users SET email = 'new@b.c', tenant = 7, handle = 'seven' WHERE id = 3",
        "INSERT INTO users (id) VALUES (9); UPDATE users SET email = 'new@b.c' WHERE id = 9; UPDATE users SET tenant = 7, handle = 'seven' WHERE id = 9",
        "DELETE FROM users WHERE id = 2; INSERT INTO users VALUES (2, 'new@b.c', 7, 'seven', '')",
    ],
    ids=["insert", "update", "in steps", "delete and insert"],
)  # fmt: skip
def test_a_row_that_comes_under_a_unique_key_evicts_its_absence(users, freshet, change):
    f = freshet(users)
    keys = ["users:email=new@b.c", "users:tenant=7,handle=seven", "users:handle=seven,tenant=07"]
    for key in keys:
        assert keep(f, key) is None
        assert state(f, key) == "absent"
    for part in change.split("; "):
        users.execute(part)
    applied(f, users)
    for key in keys:
        assert f.row(key) is not None, key


def test_a_value_that_moves_to_another_row_is_followed(users, freshet):
    f = freshet(users)
    keep(f, "users:email=a@b.c")
    with users.connect(autocommit=False) as connection:
        connection.execute("UPDATE users SET email = 'spare' WHERE id = 1")
        connection.execute("UPDATE users SET email = 'a@b.c' WHERE id = 3")
        connection.commit()
    applied(f, users)
    assert ident(f, "users:email=a@b.c") == 3
    keep(f, "users:email=a@b.c")
    users.execute("UPDATE users SET id = 30 WHERE id = 3")
    applied(f, users)
    assert ident(f, "users:email=a@b.c") == 30
    keep(f, "users:email=a@b.c")
    users.execute("TRUNCATE users")
    applied(f, users)
    assert f.row("users:email=a@b.c") is None


def test_a_big_value_that_an_update_does_not_send_again(db, freshet):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, part int, v int, doc text, UNIQUE (part, doc))")
    db.execute("ALTER TABLE big ALTER doc SET STORAGE EXTERNAL")
    doc = "d" * 2400
    db.execute("INSERT INTO big VALUES (1, 1, 0, %s)", [doc])
    f = freshet(db)
    assert keep(f, f"big:part=2,doc={doc}") is None
    keep(f, f"big:part=1,doc={doc}")
    db.execute("UPDATE big SET part = 2")  # half of the key is not in the stream
    applied(f, db)
    assert f.row(f"big:part=2,doc={doc}")["id"] == 1
    assert f.row(f"big:part=1,doc={doc}") is None
    keep(f, f"big:part=2,doc={doc}")
    db.execute("UPDATE big SET v = 1")
    applied(f, db)
    assert f.row(f"big:part=2,doc={doc}")["v"] == 1


def test_a_column_that_the_publication_leaves_out_is_not_remembered_as_absent(users, freshet):
    users.execute("CREATE ROLE stranger LOGIN REPLICATION; GRANT SELECT ON users TO stranger")
    try:
        users.execute("CREATE PUBLICATION freshet_cache FOR TABLE users (id, tenant, handle)")
        f = freshet(users, {"database": {"url": users.server.url(users.name, "stranger")}})
        assert keep(f, "users:tenant=7,handle=x") is None
        keep(f, "users:email=a@b.c")
        assert f.row("users:email=new@b.c") is None
        assert state(f, "users:email=new@b.c") == "uncached"
        users.execute("INSERT INTO users VALUES (9, 'new@b.c', 7, 'x', ''); UPDATE users SET email = 'gone' WHERE id = 1")
        applied(f, users)
        assert ident(f, "users:email=new@b.c") == ident(f, "users:tenant=7,handle=x") == 9
        assert f.row("users:email=a@b.c") is None
        f.stop()
    finally:
        users.execute("DROP OWNED BY stranger; DROP ROLE stranger")


# ---- the visibility gap ----


def gap_by_unique_key_scenario(server, db, start):
    """Rule 3: what is read by a unique key between a commit's arrival and its visibility is not kept."""
    db.execute(USERS)
    f = start(db)
    keep(f, "users:email=a@b.c")
    assert keep(f, "users:email=new@b.c") is None
    with db.commit_held("UPDATE users SET email = 'new@b.c' WHERE id = 1"):
        for key in ("users:email=a@b.c", "users:email=new@b.c"):
            wait_until(lambda: state(f, key) == "uncached", what=f"{key} is evicted")
        assert ident(f, "users:email=a@b.c") == 1
        assert f.row("users:email=new@b.c") is None
        kept = {key: state(f, key) for key in ("users:email=a@b.c", "users:email=new@b.c")}
    assert f.row("users:email=a@b.c") is None, "an old row was kept"
    assert ident(f, "users:email=new@b.c") == 1, "an old row was kept"
    assert set(kept.values()) == {"uncached"}
    assert fills(f, "retried") > 0


def reverse_index_scenario(server, db, start):
    """A changed row's entries under its old unique values go, though the stream does not tell those values."""
    db.execute(USERS)
    f = start(db)
    keep(f, "users:email=a@b.c")
    db.execute("UPDATE users SET email = 'new@b.c', bio = 'new' WHERE id = 1")
    applied(f, db)
    assert f.row("users:email=a@b.c") is None, "an old row was kept"


def unique_absence_scenario(server, db, start):
    """A row that gets a unique value evicts what is remembered of that value: that there is none."""
    db.execute(USERS)
    f = start(db)
    assert keep(f, "users:email=new@b.c") is None
    db.execute("INSERT INTO users VALUES (9, 'new@b.c')")
    applied(f, db)
    assert ident(f, "users:email=new@b.c") == 9, "an old absence was kept"


SCENARIOS = [gap_by_unique_key_scenario, reverse_index_scenario, unique_absence_scenario]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_old_comes_back_by_a_unique_key(make_postgres, freshet, scenario):
    server = make_postgres()
    scenario(server, server.create_database(), freshet)


def test_explain_tells_of_a_unique_key(users, freshet):
    f = freshet(users)
    keep(f, "users:email=a@b.c")
    assert explain(f, "users:email=a@b.c")["state"] == "resident"
    assert explain(f, "users:bio=x")["state"] == "refused"
    assert "no unique index" in explain(f, "users:bio=x")["why"]
