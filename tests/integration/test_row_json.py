"""Rows as JSON, composed of their columns: byte for byte row_to_json's, of every type, alone and in a batch; and many keys in one statement,
whatever their texts."""

import json
import uuid

import pytest

TYPES = {
    "bool": ["true", "false"],
    "int2": ["-32768", "7"],
    "int8": ["-9223372036854775808", "9007199254740993"],
    "float4": ["1.1", "'NaN'", "'-Infinity'", "1e-20", "-0"],
    "float8": ["0.1", "'Infinity'", "1e300", "123456789012345678"],
    "numeric": ["1.10", "'NaN'", "-0.000001", "12345678901234567890.123"],
    "numeric(8,2)": ["3"],
    "money": ["12.5"],
    "text": [r"E'tab\t nl\n cr\r bs\b ff\f quote\" back\\ slash/ \x01\x1f\x7f é \u2028 \U0001F600'", "''", "'null'"],
    "varchar(20)": ["'a  '"],
    "char(5)": ["'ab'"],
    '"char"': ["'x'"],
    "name": ["'some name'"],
    "bytea": [r"'\x00ff5c22'", "''"],
    "oid": ["42"],
    "uuid": ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
    "json": ["'{ \"a\" : [1,  null], \"b\":\n \"\\u00e9\"}'", "'null'", "'7'"],
    "jsonb": ["'{ \"b\": 1.50, \"a\": \"x\"}'", "'null'"],
    "xml": ["'<a b=\"c\"/>'"],
    "date": ["'2026-01-31'", "'0044-03-15 BC'", "'infinity'"],
    "time": ["'24:00'", "'01:02:03.456'"],
    "timetz": ["'01:02:03+05:30'"],
    "timestamp": ["'2026-01-31 10:11:12.5'", "'-infinity'", "'0044-03-15 BC'"],
    "timestamptz": ["'2026-01-31 10:11:12.5+00'", "'infinity'", "'12026-01-31 10:11:12+00'"],
    "interval": ["'1 year 2 days 03:04:05.6'", "'-1 day'"],
    "inet": ["'10.0.0.1/8'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "bit(3)": ["B'101'"],
    "varbit": ["B'1'"],
    "point": ["'(1,2.5)'"],
    "tsvector": ["'a:1 b'"],
    "int4range": ["'[1,5)'"],
    "int[]": ["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'"],
    "text[]": ["'{\"a\\\"b\",NULL}'"],
    "timestamptz[]": ["'{2026-01-31 10:11:12+00}'"],
    "mood": ["'so so'"],
    "posint": ["5"],
    "pair": ["'(1,\"a \"\"b\")'"],
    "pair[]": ["'{\"(1,a)\",NULL}'"],
}

SETTINGS = {"DateStyle": "German", "IntervalStyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "0", "timezone": "Asia/Kolkata"}


@pytest.fixture
def types(db):
    db.execute("CREATE TYPE mood AS ENUM ('so so'); CREATE DOMAIN posint AS int CHECK (value > 0); CREATE TYPE pair AS (\"the a\" int, b text)")
    columns = [f'"{name} ""{i}"" \\ é" {name}' for i, name in enumerate(name for name in TYPES if '"' not in name)]
    columns += ["odd \"char\""]
    names = [name for name in TYPES if '"' not in name] + ['"char"']
    db.execute(f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(columns)}, made int GENERATED ALWAYS AS (id * 2) STORED)")
    longest = max(len(values) for values in TYPES.values())
    for row in range(longest):
        values = [TYPES[name][row] if row < len(TYPES[name]) else "NULL" for name in names]
        db.execute(f"INSERT INTO t VALUES ({row + 1}, {', '.join(values)})")
    db.execute(f"INSERT INTO t VALUES ({longest + 1})")
    return list(range(1, longest + 2))


def read_all(redis, keys):
    pipe = redis.pipeline(transaction=False)
    for key in keys:
        pipe.get(key)
    return pipe.execute()


@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["default", "other"])
@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_each_type_is_as_row_to_json_has_it(db, types, freshet, settings):
    for name, value in settings.items():
        db.execute(f"ALTER ROLE ALL IN DATABASE \"{db.value('SELECT current_database()')}\" SET {name} = '{value}'")
    f = freshet(db)
    with db.connect() as connection:
        expected = dict(connection.execute("SELECT id, row_to_json(t)::text FROM t").fetchall())
    assert f.redis.get("t:1") == expected[1]
    f.redis.flushall()
    assert read_all(f.redis, [f"t:{id}" for id in types]) == [expected[id] for id in types]
    f.redis.flushall()
    assert f.redis.mget([f"t:{id}" for id in types]) == [expected[id] for id in types]


def test_many_keys_of_one_statement_are_whose_they_are(db, freshet):
    db.execute("CREATE TABLE n (id bigint PRIMARY KEY, v text); INSERT INTO n SELECT i, 'v' || i FROM generate_series(-50, 50) i")
    names = ["", " ", "a", "a ", "A", "é", "ß", "{", "}", '"', "\\", ",", "NULL", "null", "a=b", "%3A", "x" * 300]
    db.execute("CREATE TABLE s (name text PRIMARY KEY)")
    for name in names:
        db.execute("INSERT INTO s VALUES (%s)", [name])
    db.execute("CREATE TABLE u (id uuid PRIMARY KEY)")
    ids = [uuid.UUID(int=i << 90 | 0xABCDEF) for i in range(10)]
    for id in ids:
        db.execute("INSERT INTO u VALUES (%s)", [id])
    f = freshet(db)

    def check(keys, expected):
        for _ in range(2):  # cold, then warm
            assert read_all(f.redis, keys) == expected

    numbers = list(range(60, -60, -3))
    row = {i: f'{{"id":{i},"v":"v{i}"}}' for i in range(-50, 51)}
    check([f"n:{i}" for i in numbers], [row.get(i) for i in numbers])
    odd = ["007", "+7", "-0", " 7", "0x7", "00", "50", "51", "-50"]
    answers = read_all(f.redis, [f"n:{i}" for i in odd if i != "0x7"])
    assert answers == [row[7], row[7], row[0], row[7], row[0], row[50], None, row[-50]]
    wanted = names + ["nobody", "b "]
    check([f"s:{name}" for name in wanted], [json.dumps({"name": name}, ensure_ascii=False, separators=(",", ":")) if name in names else None for name in wanted])
    texts = [str(id) for id in ids] + [str(id).upper() for id in ids] + [id.hex for id in ids] + [str(uuid.UUID(int=1))]
    check([f"u:{text}" for text in texts], [f'{{"id":"{id}"}}' for id in ids] * 3 + [None])


def test_a_column_that_changes_its_type_is_read_anew(db, freshet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 20) i")
    f = freshet(db)
    keys = [f"t:{i}" for i in range(1, 21)]
    for type, using in (("text", "v::text || '\"'"), ("timestamptz", "'2026-01-01 00:00:00+00'"), ("int", "7"), ("numeric", "'NaN'::numeric")):
        read_all(f.redis, keys)
        db.execute(f"ALTER TABLE t ALTER COLUMN v TYPE {type} USING {using}")
        f.redis.flushall()
        expected = [row["text"] for row in db.rows("SELECT row_to_json(t)::text AS text FROM t ORDER BY id")]
        assert read_all(f.redis, keys) == expected
