"""`freshet check` tells what is right, what is missing and what mends it; and `run` says the same where it cannot start."""

import json
import re
import socket

import pytest

from support.process import free_port


def check(cli, database, *args, user=None, **options):
    url = database.server.url(database.name, user) if user else database.url
    return cli("check", "--database", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *args, **options)


def run_fails(cli, database, *args, user=None):
    """`run` ends with 1 and one line of error, which is returned."""
    url = database.server.url(database.name, user) if user else database.url
    ran = cli("run", "--database", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *args)
    assert ran.returncode == 1, ran.stderr
    errors = [line for line in ran.stderr.splitlines() if "level=error" in line]
    assert len(errors) == 1, ran.stderr
    return errors[0]


def findings(ran):
    """[(result, check, what)]; the lines that mend follow their finding's text."""
    found = []
    for line in ran.stdout.splitlines():
        match = re.match(r"(ok|warn|FAIL) +(.{19}) (.*)", line)
        if match:
            found.append([match[1], match[2].strip(), match[3]])
        elif line.startswith(" ") and found:
            found[-1][2] += "\n" + line.strip()
    return [tuple(one) for one in found]


def only(ran, check_name, text=""):
    matching = [(result, what) for result, name, what in findings(ran) if name == check_name and text in what]
    assert len(matching) == 1, ran.stdout + ran.stderr
    return matching[0]


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_a_database_that_is_ready(cli, postgres, shop):
    ran = check(cli, shop)
    assert ran.returncode == 0, ran.stdout
    names = [name for _, name, _ in findings(ran)]
    wanted = ["database", "server version", "wal_level", "replication right", "replication slots", "wal senders",
              "publication", "table", "listener"]
    assert [name for name in dict.fromkeys(names)] == wanted
    assert only(ran, "server version")[1].startswith(f"PostgreSQL {postgres.version}")
    result, what = only(ran, "publication")
    assert result == "ok" and 'CREATE PUBLICATION "freshet_cache" FOR TABLE ONLY "public"."customers"' in what
    assert only(ran, "table", "public.customers:")[1].endswith("readable, evictable")
    result, what = only(ran, "table", "public.page_views")
    assert result == "warn" and "not readable" in what and "ADD PRIMARY KEY" in what
    assert "`freshet run` would work" in ran.stdout


def test_it_changes_nothing(cli, shop):
    before = (shop.publications(), shop.slots())
    check(cli, shop, "--set", "cdc.output=stdout")
    assert (shop.publications(), shop.slots()) == before == ([], [])


def test_wal_level(cli, make_postgres):
    shop = make_postgres(wal_level="replica").create_shop()
    ran = check(cli, shop)
    assert ran.returncode == 1
    result, what = only(ran, "wal_level")
    assert result == "FAIL" and "is replica" in what and "ALTER SYSTEM SET wal_level = 'logical'" in what
    assert "would not work" in ran.stdout
    error = run_fails(cli, shop)
    assert "wal_level" in error and "ALTER SYSTEM SET wal_level" in error
    assert check(cli, shop, "--set", "cache.coherence=ttl").returncode == 0


def test_a_cache_by_ttl_runs_where_there_is_no_logical_replication(make_postgres, freshet):
    shop = make_postgres(wal_level="replica").create_shop()
    f = freshet(shop, {"cache": {"coherence": "ttl"}})
    assert f.row("customers:1")["id"] == 1


@pytest.fixture
def role(postgres, shop, unique):
    """A role that may read the shop's tables and nothing else."""
    shop.execute(f"CREATE ROLE {unique} LOGIN")
    shop.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {unique}")
    yield unique
    shop.execute(f"DROP OWNED BY {unique}")
    postgres.execute(f"DROP ROLE {unique}")


def test_the_right_to_replicate(cli, shop, role):
    ran = check(cli, shop, user=role)
    assert ran.returncode == 1
    result, what = only(ran, "replication right")
    assert result == "FAIL" and what.endswith(f"ALTER ROLE {role} REPLICATION;")
    ran = cli("run", "--database", shop.server.url(shop.name, role), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert ran.returncode == 1 and f"ALTER ROLE {role} REPLICATION;" in ran.stderr


def test_the_sql_for_a_publication_that_the_role_may_not_make_mends_it(cli, shop, role, freshet):
    shop.execute(f"ALTER ROLE {role} REPLICATION")
    ran = check(cli, shop, user=role)
    assert ran.returncode == 1
    result, what = only(ran, "publication")
    assert result == "FAIL"
    assert 'CREATE PUBLICATION "freshet_cache"' in run_fails(cli, shop, user=role)
    shop.execute(re.search(r"CREATE PUBLICATION .*", what)[0])
    assert check(cli, shop, user=role).returncode == 0
    f = freshet(None, {"database": {"url": shop.server.url(shop.name, role)}})
    assert f.row("customers:1")["id"] == 1


def test_a_publication_for_all_tables_is_a_warning_or_a_failure(cli, shop):
    """Somebody's own for the stream may stay; the cache's would do harm, and is refused."""
    shop.execute("CREATE PUBLICATION freshet FOR ALL TABLES")
    ran = check(cli, shop, "--set", "cdc.output=stdout")
    assert ran.returncode == 0
    assert only(ran, "publication", "FOR ALL TABLES")[0] == "warn"
    shop.execute("CREATE PUBLICATION freshet_cache FOR ALL TABLES")
    ran = check(cli, shop)
    assert ran.returncode == 1
    result, what = only(ran, "publication")
    assert result == "FAIL" and 'DROP PUBLICATION "freshet_cache"' in what


def test_free_slots(cli, make_postgres):
    server = make_postgres(max_replication_slots=1)
    shop = server.create_shop()
    assert check(cli, shop).returncode == 0
    assert check(cli, shop, "--set", "cdc.output=stdout").returncode == 1
    shop.execute("SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
    ran = check(cli, shop)
    assert ran.returncode == 1
    result, what = only(ran, "replication slots")
    assert result == "FAIL" and "0 of 1 are free, 1 needed" in what and "max_replication_slots" in what
    assert "0 of 1 are free" in run_fails(cli, shop)


def test_a_slot_of_another_plugin_or_in_use(cli, shop):
    shop.execute("SELECT pg_create_logical_replication_slot('x_%s', 'test_decoding')" % shop.name)
    ran = check(cli, shop, "--set", "cdc.output=stdout", "--set", f"cdc.slot=x_{shop.name}")
    assert ran.returncode == 1
    assert only(ran, "replication slots", "is not a pgoutput slot")[0] == "FAIL"


def test_no_database(cli):
    ran = cli("check", "--database", f"postgres://u@127.0.0.1:{free_port()}/d")
    assert ran.returncode == 1
    assert only(ran, "database")[0] == "FAIL"
    ran = cli("run", "--database", f"postgres://u@127.0.0.1:{free_port()}/d")
    assert ran.returncode == 1
    assert ran.stderr.count("level=error") == 1 and "start PostgreSQL" in ran.stderr


TABLES = """
CREATE TABLE keyless (a int);
CREATE TABLE keyless_full (a int);
ALTER TABLE keyless_full REPLICA IDENTITY FULL;
CREATE TABLE nothing (id int PRIMARY KEY);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
CREATE TABLE whole (id int PRIMARY KEY);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL UNIQUE);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key;
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE TABLE "Odd ""name" ("Id" int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
"""


@pytest.mark.parametrize(
    "name, result, texts",
    [
        ("keyless", "warn", ["no primary key", "not readable", "no events", "ADD PRIMARY KEY"]),
        ("keyless_full", "ok", ["no primary key", "not readable", "events hold the whole row before"]),
        ("nothing", "warn", ["readable, not evictable", "no events", "REPLICA IDENTITY DEFAULT"]),
        ("whole", "ok", ["readable, evictable", "events hold the whole row before"]),
        ("by_index", "ok", ["identity an index", "readable, evictable", "events lack the row before"]),
        ("deferred", "warn", ["not evictable", "deferrable", "REPLICA IDENTITY FULL"]),
        ("unlogged", "warn", ["not evictable", "unlogged", "SET LOGGED"]),
        ('Odd "name', "ok", ["key Id", "readable, evictable"]),
        ("parts", "ok", ["readable, evictable"]),
    ],
)
def test_what_follows_from_a_tables_key_and_identity(cli, db, name, result, texts):
    db.execute(TABLES)
    ran = check(cli, db, "--set", "cdc.output=stdout")
    assert ran.returncode == 0, ran.stdout
    found, what = only(ran, "table", f"public.{name}: ")
    assert found == result
    for text in texts:
        assert text in what


def test_row_level_security_and_missing_rights(cli, shop, role):
    shop.execute(f"ALTER ROLE {role} REPLICATION")
    shop.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    shop.execute(f"REVOKE SELECT ON products FROM {role}")
    ran = check(cli, shop, user=role)
    result, what = only(ran, "table", "row-level security is in force")
    assert result == "warn" and f'read as role "{role}"' in what
    result, what = only(ran, "table", "public.products")
    assert result == "warn" and f'GRANT SELECT ON "public"."products" TO "{role}";' in what


def test_tables_that_are_written_through_need_the_rights(cli, shop, role):
    through = ["--set", "cache.tables.public.customers.writes=through"]
    assert only(check(cli, shop, *through), "writes") == ("ok", "public.customers: written through")
    shop.execute(f"GRANT INSERT ON customers TO {role}")
    result, what = only(check(cli, shop, *through, user=role), "writes")
    assert result == "warn" and f'role "{role}" lacks the right to UPDATE, DELETE' in what
    shop.execute(re.search(r"GRANT .*", what)[0])
    assert only(check(cli, shop, *through, user=role), "writes")[0] == "ok"


def test_kafka(cli, shop, kafka):
    ran = check(cli, shop, "--kafka", kafka.brokers)
    assert ran.returncode == 0, ran.stdout
    assert only(ran, "kafka")[1].endswith("1 broker, transactional")
    assert len([1 for _, name, _ in findings(ran) if name == "publication"]) == 2


def test_kafka_that_is_away(cli, shop):
    ran = check(cli, shop, "--kafka", f"127.0.0.1:{free_port()}")
    assert ran.returncode == 1
    assert only(ran, "kafka")[0] == "FAIL"


def test_a_connectors_target_that_is_away(cli, shop, tmp_path):
    connector = "connectors=[{name: a, type: opensearch, url: 'http://127.0.0.1:%d', table: public.customers}]"
    ran = check(cli, shop, "--set", connector % free_port(), "--set", f"state_dir={tmp_path}/made/later")
    assert ran.returncode == 1
    assert only(ran, "connector")[0] == "FAIL"
    assert only(ran, "state_dir")[0] == "ok"


def test_a_port_in_use(cli, shop):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cli("check", "--database", shop.url, "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--admin", "127.0.0.1:0")
    assert ran.returncode == 1
    assert only(ran, "listener", "cache.listen")[0] == "FAIL"


def check_queries_of(cli, database, tmp_path, queries):
    path = tmp_path / "freshet.yml"
    path.write_text(json.dumps({"cache": {"queries": queries}}, indent=2))
    return check(cli, database, "-c", str(path))


def test_named_queries_are_planned(cli, db, tmp_path):
    db.execute(
        "CREATE TABLE users (id int PRIMARY KEY, name text);"
        "CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, region text);"
        "CREATE TABLE parts (region text, id int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);"
        "CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu'); CREATE TABLE bare (id int);"
        "CREATE VIEW named AS SELECT o.*, u.name, random() AS luck FROM orders o JOIN users u ON u.id = o.user_id"
    )
    ran = check_queries_of(cli, db, tmp_path, {
        "good": {"key": "good:{id}", "sql": "SELECT name FROM users WHERE id = $1", "depends_on": {"users": ["id"]}, "shape": "value"},
        "lacks": {"key": "lacks:{user}", "sql": "SELECT * FROM named WHERE user_id = $1", "depends_on": {"orders": ["user_id"]}},
        "timed": {"key": "timed", "sql": "SELECT count(*) FROM parts WHERE now() > '2000-01-01'", "ttl": "5s"},
        "parted": {"key": "parted:{r}", "sql": "SELECT id FROM parts WHERE region = $1", "depends_on": {"parts": "region", "users": "all"}},
        "unkept": {"key": "unkept", "sql": "SELECT * FROM bare", "depends_on": {"bare": "all"}},
        "wrong": {"key": "wrong:{a}", "sql": "SELECT nosuch", "ttl": "5s"},
        "other": {"key": "other:{a}", "sql": "SELECT 1", "ttl": "5s"},
        "wide": {"key": "wide", "sql": "SELECT 1, 2", "ttl": "5s", "shape": "list"},
    })  # fmt: skip
    assert ran.returncode == 1
    told = [(result, what) for result, name, what in findings(ran) if name == "query"]

    def of(name):
        return [(result, what.removeprefix(f"{name}: ")) for result, what in told if what.startswith(f"{name}: ")]

    assert of("good") == [("ok", "good:{id} (integer), shape value; columns name; reads public.users")]
    (ok, first), (_, undeclared), (_, untold), (_, volatile) = of("lacks")
    assert ok == "ok" and {"public.orders", "public.users"} <= set(first.replace(",", "").split())
    assert undeclared.startswith("its plan reads public.users, which depends_on does not name: a change there evicts nothing")
    assert "public.users: all" in undeclared
    assert untold.startswith("the old value of user_id is not in the change stream of public.orders")
    assert 'ALTER TABLE "public"."orders" REPLICA IDENTITY FULL' in untold
    assert volatile.startswith("calls random(): its results change though no row does")
    (_, first), (result, timed) = of("timed")
    assert "reads public.parts; depends on nothing, so its TTL alone (5000 ms) bounds" in first
    assert result == "warn" and timed.startswith("calls now():")
    (ok, first), (result, unread) = of("parted")
    assert first.endswith("reads public.parts") and (result, unread) == ("warn", "depends_on names users, which its plan does not read")
    assert "the changes of bare cannot be followed, so its results are not kept" in of("unkept")[1][1]
    assert of("wrong") == [("FAIL", 'column "nosuch" does not exist\ncorrect cache.queries')]
    assert "another number of parameters than its key" in of("other")[0][1]
    assert "a list is of one column, its SQL gives several" in of("wide")[0][1]
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    ran = check_queries_of(cli, db, tmp_path, {
        "card": {"key": "card:{u}", "sql": "SELECT * FROM orders JOIN users ON users.id = user_id WHERE user_id = $1",
                 "depends_on": {"orders": ["user_id"], "public.users": ["id"]}},
    })  # fmt: skip
    assert ran.returncode == 0 and [result for result, name, _ in findings(ran) if name == "query"] == ["ok"]
    ran = check_queries_of(cli, db, tmp_path, {
        "users": {"key": "users:{u}:{r}", "sql": "SELECT 1 FROM orders WHERE user_id = $1 AND region = $2", "depends_on": {"orders": ["user_id"]}},
    })  # fmt: skip
    told = [what.splitlines()[0] for result, name, what in findings(ran) if name == "query" and result == "warn"]
    assert told == [
        "users: depends_on names 1 columns of public.orders, and the key has 2 parameters: each change there touches every result",
        "users: its keys hide those of the table public.users",
    ]


def test_a_parameter_that_meets_no_column_as_it_is_is_told(cli, db, tmp_path):
    """A change touches the key of the column's own value: `lower(name) = $1` is found by another."""
    db.execute(
        "CREATE TABLE people (id int PRIMARY KEY, boss int, name varchar(20), n numeric); ALTER TABLE people REPLICA IDENTITY FULL;"
        'CREATE TABLE "Odd ones" ("an id" int PRIMARY KEY)'
    )

    def told(condition, column, table="people"):
        query = {"key": "q:{x}", "sql": f'SELECT 1 FROM "{table}" p WHERE {condition}', "depends_on": {table: [column]}}
        ran = check_queries_of(cli, db, tmp_path, {"q": query})
        return [what.splitlines()[0] for result, name, what in findings(ran) if name == "query" and result != "ok"]

    for condition, column in (
        ("name = $1", "name"), ("$1 = id", "id"), ("n = $1 AND lower(name) <> $1::text", "n"), ("id IN ($1)", "id"),
        ("p.id = $1 AND (SELECT count(*) FROM people o WHERE o.boss = p.id) > 1", "boss"), ("id BETWEEN 1 AND 9 AND boss = $1", "boss"),
    ):  # fmt: skip
        assert told(condition, column) == [], condition
    assert told('"an id" = $1', "an id", "Odd ones") == []
    for condition, column in (
        ("lower(name) = lower($1)", "name"), ("lower(name) = $1", "name"), ("name = $1::varchar(3)", "name"), ("id > $1", "id"),
        ("n = $1 + 1", "n"), ("name = upper($1)", "name"),
    ):  # fmt: skip
        assert [text[:56] for text in told(condition, column)] == ["q: its plan finds $1 equal to no column as it is (col = "], condition


def test_what_named_queries_depend_on_must_be_there(cli, db, tmp_path):
    db.execute("CREATE TABLE users (id int PRIMARY KEY)")
    ran = check_queries_of(cli, db, tmp_path, {
        "a": {"key": "a:{x}", "sql": "SELECT 1 FROM users WHERE id = $1", "depends_on": {"users": ["id"], "nosuch": "all"}},
        "b": {"key": "b:{x}", "sql": "SELECT 1 FROM users WHERE id = $1", "depends_on": {"users": ["id", "age"]}},
    })  # fmt: skip
    told = [what for _, name, what in findings(ran) if name == "named tables"]
    assert len(told) == 2
    assert re.search(r"freshet.yml:4:\d+: cache.queries.a.depends_on.nosuch: there is no such table", told[0])
    assert re.search(r'freshet.yml:\d+:\d+: cache.queries.b.depends_on.users: there is no column "age" in public.users', told[1])
