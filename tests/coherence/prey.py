"""The rows that are hunted: their tables, the writers' transactions, and what each key asks for.

    prey.TABLES                                  the schema and its first rows, as SQL
    for kind in prey.KINDS: ...                  ways to change them
    versions = kind(connection, dice, next)      inside of a transaction: {name: version}
    prey.keys_of(name), prey.queries_of(name)    the ways to read it;  prey.QUERIES: those queries' configuration
"""

import json

ROWS = {"prey": 12, "seats": 8, "parts": 6, "cut": 6, "twins": 4}

TABLES = f"""
CREATE TABLE prey (id int PRIMARY KEY, version bigint NOT NULL, tag text UNIQUE, pad text);
CREATE TABLE seats (id int PRIMARY KEY, version bigint NOT NULL, hall int, seat int, UNIQUE (hall, seat));
CREATE TABLE parts (region text, id int, version bigint NOT NULL, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE parts_n PARTITION OF parts FOR VALUES IN ('n');
CREATE TABLE parts_s PARTITION OF parts FOR VALUES IN ('s');
CREATE TABLE cut (id int PRIMARY KEY, version bigint NOT NULL);
CREATE TABLE twins_a (id int PRIMARY KEY, version bigint NOT NULL);
CREATE TABLE twins_b (id int PRIMARY KEY, version bigint NOT NULL);
INSERT INTO prey SELECT i, 0, 't' || i, repeat('x', 200) FROM generate_series(1, {ROWS["prey"]}) i;
INSERT INTO seats SELECT i, 0, i % 2, i FROM generate_series(1, {ROWS["seats"]}) i;
INSERT INTO parts SELECT 'n', i, 0 FROM generate_series(1, {ROWS["parts"]}) i;
INSERT INTO cut SELECT i, 0 FROM generate_series(1, {ROWS["cut"]}) i;
INSERT INTO twins_a SELECT i, 0 FROM generate_series(1, {ROWS["twins"]}) i;
INSERT INTO twins_b SELECT i, 0 FROM generate_series(1, {ROWS["twins"]}) i;
"""
LOCKS = {"prey": 1, "seats": 2, "parts": 3, "cut": 4, "twins": 5}
AWAY = 100  # a row of prey moves between id and id + AWAY


def lock(connection, table, ids):
    """One writer at a time on a row, so that its versions are committed in their order."""
    for number in sorted(ids):
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCKS[table], number])


def some(dice, table):
    return dice.sample(range(1, ROWS[table] + 1), dice.choice([1, 1, 1, 2, 4]))


# ---- prey: a row may be away, at another primary key, or gone; its tag stays its own ----


def prey_now(connection, ids):
    found = dict.fromkeys([f"prey/{at}" for i in ids for at in (i, i + AWAY)] + [f"tag/{i}" for i in ids])
    tags = [f"t{i}" for i in ids]
    for at, version, tag in connection.execute("SELECT id, version, tag FROM prey WHERE tag = ANY (%s)", [tags]):
        found[f"prey/{at}"] = found[f"tag/{tag[1:]}"] = version
    return found


def prey_change(change):
    def kind(connection, dice, number):
        ids = some(dice, "prey")
        lock(connection, "prey", ids)
        for i in ids:
            change(connection, dice, i, number())
        return prey_now(connection, ids)

    return kind


def update(connection, dice, i, version):
    connection.execute("UPDATE prey SET version = %s WHERE tag = %s", [version, f"t{i}"])


def insert(connection, dice, i, version):
    connection.execute("INSERT INTO prey VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", [i, version, f"t{i}"])


def delete(connection, dice, i, version):
    connection.execute("DELETE FROM prey WHERE tag = %s", [f"t{i}"])


def reinsert(connection, dice, i, version):
    delete(connection, dice, i, version)
    insert(connection, dice, i, version)


def upsert(connection, dice, i, version):
    connection.execute(
        "INSERT INTO prey VALUES (%s, %s, %s) ON CONFLICT (tag) DO UPDATE SET version = excluded.version",
        [i, version, f"t{i}"],
    )


def move(connection, dice, i, version):
    connection.execute(
        f"UPDATE prey SET version = %s, id = CASE WHEN id < {AWAY} THEN id + {AWAY} ELSE id - {AWAY} END WHERE tag = %s",
        [version, f"t{i}"],
    )


def move_and_back(connection, dice, i, version):
    move(connection, dice, i, version)
    move(connection, dice, i, version)


def copy(connection, dice, i, version):
    delete(connection, dice, i, version)
    with connection.cursor().copy("COPY prey (id, version, tag) FROM STDIN") as rows:
        rows.write_row((i, version, f"t{i}"))


def savepoints(connection, dice, i, version):
    """Versions below zero are rolled back: none is ever read."""
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE prey SET version = -1 WHERE tag = %s", [f"t{i}"])
    with connection.transaction():
        update(connection, dice, i, version)
        with connection.transaction(force_rollback=True):
            delete(connection, dice, i, version)


# ---- seats: rows change places, so that a unique key leads to another row ----


def seats_now(connection, ids):
    found = {}
    for at, version, hall, seat in connection.execute("SELECT id, version, hall, seat FROM seats WHERE id = ANY (%s)", [ids]):
        found[f"seats/{at}"] = found[f"seat/{hall}/{seat}"] = version
    return found


def seats_update(connection, dice, number):
    ids = some(dice, "seats")
    lock(connection, "seats", ids)
    for i in ids:
        connection.execute("UPDATE seats SET version = %s WHERE id = %s", [number(), i])
    return seats_now(connection, ids)


def seats_swap(connection, dice, number):
    a, b = dice.sample(range(1, ROWS["seats"] + 1), 2)
    lock(connection, "seats", [a, b])
    (place_a, place_b) = (
        connection.execute("SELECT hall, seat FROM seats WHERE id = %s", [i]).fetchone() for i in (a, b)
    )
    connection.execute("UPDATE seats SET seat = NULL WHERE id = %s", [a])
    for i, (hall, seat) in ((b, place_a), (a, place_b)):
        connection.execute("UPDATE seats SET hall = %s, seat = %s, version = %s WHERE id = %s", [hall, seat, number(), i])
    return seats_now(connection, [a, b])


# ---- parts: partitions, a composite primary key ----


def parts_change(connection, dice, number):
    ids = some(dice, "parts")
    lock(connection, "parts", ids)
    for i in ids:
        region = dice.choice(["region", "region", "CASE region WHEN 'n' THEN 's' ELSE 'n' END"])
        connection.execute(f"UPDATE parts SET version = %s, region = {region} WHERE id = %s", [number(), i])
    found = dict.fromkeys(f"parts/{region}/{i}" for region in "ns" for i in ids)
    for region, i, version in connection.execute("SELECT region, id, version FROM parts WHERE id = ANY (%s)", [ids]):
        found[f"parts/{region}/{i}"] = version
    return found


# ---- cut: a table that is emptied and filled ----


def cut_now(connection):
    found = dict.fromkeys(f"cut/{i}" for i in range(1, ROWS["cut"] + 1))
    for i, version in connection.execute("SELECT id, version FROM cut"):
        found[f"cut/{i}"] = version
    return found


def cut_truncate(connection, dice, number):
    lock(connection, "cut", [0])
    connection.execute("TRUNCATE cut")
    stays = dice.sample(range(1, ROWS["cut"] + 1), dice.choice([0, 3, ROWS["cut"]]))
    with connection.cursor().copy("COPY cut FROM STDIN") as rows:
        for i in stays:
            rows.write_row((i, number()))
    return cut_now(connection)


def cut_update(connection, dice, number):
    lock(connection, "cut", [0])
    connection.execute("UPDATE cut SET version = %s WHERE id <= %s", [number(), dice.randint(1, ROWS["cut"])])
    for i in dice.sample(range(1, ROWS["cut"] + 1), 2):
        connection.execute("INSERT INTO cut VALUES (%s, %s) ON CONFLICT DO NOTHING", [i, number()])
    return cut_now(connection)


# ---- twins: one transaction keeps them equal ----


def twins_change(connection, dice, number):
    ids = some(dice, "twins")
    lock(connection, "twins", ids)
    found = {}
    for i in ids:
        version = number()
        for twin in "ab":
            connection.execute(f"UPDATE twins_{twin} SET version = %s WHERE id = %s", [version, i])
            found[f"twins_{twin}/{i}"] = version
    return found


PREY = [update, update, insert, insert, delete, reinsert, upsert, move, move_and_back, copy, savepoints]
KINDS = [prey_change(change) for change in PREY]
KINDS += [seats_update, seats_update, seats_swap, parts_change, parts_change, cut_truncate, cut_update, twins_change]
NAMES = {
    **{f"prey/{i}": 0 for i in range(1, ROWS["prey"] + 1)},
    **{f"prey/{i + AWAY}": None for i in range(1, ROWS["prey"] + 1)},
    **{f"tag/{i}": 0 for i in range(1, ROWS["prey"] + 1)},
    **{f"seats/{i}": 0 for i in range(1, ROWS["seats"] + 1)},
    **{f"seat/{i % 2}/{i}": 0 for i in range(1, ROWS["seats"] + 1)},
    **{f"parts/n/{i}": 0 for i in range(1, ROWS["parts"] + 1)},
    **{f"parts/s/{i}": None for i in range(1, ROWS["parts"] + 1)},
    **{f"cut/{i}": 0 for i in range(1, ROWS["cut"] + 1)},
    **{f"twins_{twin}/{i}": 0 for twin in "ab" for i in range(1, ROWS["twins"] + 1)},
}


# ---- reading ----

QUERIES = {
    "prey_by_tag": {
        "key": "prey_by_tag:{tag}",
        "sql": "SELECT version FROM prey WHERE tag = $1",
        "shape": "value",
        "depends_on": {"prey": ["tag"]},
    },
    "hall": {
        "key": "hall:{hall}",
        "sql": "SELECT seat, id, version FROM seats WHERE hall = $1 ORDER BY seat",
        "depends_on": {"seats": ["hall"]},
    },
    "twins": {
        "key": "twins:{id}",
        "sql": "SELECT a.version, b.version AS other FROM twins_a a JOIN twins_b b ON b.id = a.id WHERE a.id = $1",
        "shape": "row",
        "depends_on": {"twins_a": ["id"], "twins_b": ["id"]},
    },
}
NEVER = -3  # a version that no row ever had: two snapshots in one answer


def keys_of(name):
    """The keys that lead to it, the plainest first."""
    table, *parts = name.split("/")
    if table == "tag":
        return [f"prey:tag=t{parts[0]}"]
    if table == "seat":
        return [f"seats:hall={parts[0]},seat={parts[1]}", f"seats:seat={parts[1]},hall={parts[0]}"]
    if table == "parts":
        return [f"parts:{parts[0]}:{parts[1]}"]
    return [f"{table}:{parts[0]}", f"{table}:0{parts[0]}", f"{table}:id={parts[0]}"]


def from_json(text):
    return None if text is None else json.loads(text)["version"]


def from_field(text):
    return None if text is None else int(text)


def from_twins(text):
    row = json.loads(text)
    return row["version"] if row["version"] == row["other"] else NEVER


def queries_of(name):
    """Commands that read it by a named query: [(words, what makes a version of the reply)]."""
    table, *parts = name.split("/")
    if table == "tag":
        return [(["GET", f"prey_by_tag:t{parts[0]}"], from_field)]
    if table == "seat":
        return [(["GET", f"hall:{parts[0]}"], lambda text: next(r["version"] for r in json.loads(text) if r["seat"] == int(parts[1])))]
    if table.startswith("twins_"):
        return [(["GET", f"twins:{parts[0]}"], from_twins)]
    return []


def reads_of(name):
    """All of them."""
    plain = [(["GET", key], from_json) for key in keys_of(name)] + [(["HGET", key, "version"], from_field) for key in keys_of(name)]
    return plain + queries_of(name)


def all_now(connection):
    found = dict.fromkeys(NAMES)
    found.update(prey_now(connection, list(range(1, ROWS["prey"] + 1))))
    found.update(seats_now(connection, list(range(1, ROWS["seats"] + 1))))
    found.update(cut_now(connection))
    for region, i, version in connection.execute("SELECT region, id, version FROM parts"):
        found[f"parts/{region}/{i}"] = version
    for twin in "ab":
        for i, version in connection.execute(f"SELECT id, version FROM twins_{twin}"):
            found[f"twins_{twin}/{i}"] = version
    return found
