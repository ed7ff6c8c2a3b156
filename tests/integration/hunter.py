"""The hunter of stale reads: writers bump versions by every kind of DML, readers judge each answer.

A row's version only grows. A writer tells a version once its COMMIT has returned; a read that begins later than
max_staleness after that must be at least as new, and after FRESHET.WAIT at once. When all is quiet every key
equals the database.
"""

import json
import random
import threading
import time
from dataclasses import dataclass, field

import psycopg
import redis

TABLE = """
CREATE TABLE prey (id int PRIMARY KEY, version bigint, tag text UNIQUE, UNIQUE (version, id));
CREATE FUNCTION set_tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.tag := NEW.id || 'v' || NEW.version; RETURN NEW; END $$;
CREATE TRIGGER set_tag BEFORE INSERT OR UPDATE ON prey FOR EACH ROW EXECUTE FUNCTION set_tag();
"""

KEYS = 12
BOUND = 1.0


@dataclass
class Hunt:
    reads: int = 0
    waits: int = 0
    writes: int = 0
    violations: list = field(default_factory=list)


class Prey:
    """What is known to be committed: for each key its versions, with the time at which COMMIT had returned."""

    def __init__(self):
        self.lock = threading.Lock()
        self.committed = {key: [(0.0, 0)] for key in range(1, KEYS + 1)}

    def tell(self, versions):
        now = time.monotonic()
        with self.lock:
            for key, version in versions.items():
                self.committed[key].append((now, version))

    def least(self, key, before):
        """The newest version whose commit had returned at that time."""
        with self.lock:
            return max(version for at, version in self.committed[key] if at <= before)


class Standby:
    """A synchronous standby that is missing every other moment: commits wait for it, logged and not visible."""

    def __init__(self, server):
        self.server, self.missing = server, False

    def toggle(self, f):
        self.missing = not self.missing
        self.server.set("synchronous_standby_names", "'nobody'" if self.missing else None)

    def release(self):
        self.server.set("synchronous_standby_names", None)


def one_write(connection, dice, clock):
    """One transaction; returns {key: version}, all of it committed. Versions come from one sequence, so they only grow."""
    some = sorted(dice.sample(range(1, KEYS + 1), dice.choice([1, 1, 1, 2, 4])))
    kind = dice.choice(["update", "update", "update", "savepoint", "reinsert", "move", "rollback", "copy", "upsert"])
    versions = {}
    with connection.transaction(force_rollback=kind == "rollback"):
        # One writer a row at a time, so that a key's versions are committed in their order.
        for key in some:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [key])
        for key in some:
            version = next(clock)
            versions[key] = version
            if kind == "savepoint":
                with connection.transaction(force_rollback=True):
                    connection.execute("UPDATE prey SET version = -1 WHERE id = %s", [key])
            if kind == "reinsert":
                connection.execute("DELETE FROM prey WHERE id = %s", [key])
                connection.execute("INSERT INTO prey VALUES (%s, %s)", [key, version])
            elif kind == "move":
                connection.execute("UPDATE prey SET id = -id WHERE id = %s", [key])
                connection.execute("UPDATE prey SET id = -id, version = %s WHERE id = %s", [version, -key])
            elif kind == "copy":
                connection.execute("DELETE FROM prey WHERE id = %s", [key])
                with connection.cursor().copy("COPY prey (id, version) FROM STDIN") as copy:
                    copy.write_row((key, version))
            elif kind == "upsert":
                connection.execute(
                    "INSERT INTO prey VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET version = excluded.version",
                    [key, version],
                )
            else:
                connection.execute("UPDATE prey SET version = %s WHERE id = %s", [version, key])
    return {} if kind == "rollback" else versions


def version_of(client, dice, key):
    how = dice.choice(["get", "get", "hget", "mget", "alias"])
    if how == "hget":
        text = client.hget(f"prey:{key}", "version")
        return None if text is None else int(text)
    if how == "mget":
        text = client.mget(f"prey:{key}", f"prey:{dice.randint(1, KEYS)}")[0]
    else:
        text = client.get(f"prey:0{key}" if how == "alias" else f"prey:{key}")
    return None if text is None else json.loads(text)["version"]


def by_unique_key(client, dice, connection, prey, key, next_version, judge):
    """Each version of a row is also a unique value of its own: asked for before it comes, while it is, and when it has gone."""
    version = prey.least(key, time.monotonic() - BOUND)
    names = [f"prey:tag={key}v{version}", f"prey:version={version},id={key}"]
    least = prey.least(key, time.monotonic() - BOUND)
    text = client.get(dice.choice(names))
    row = text and json.loads(text)
    if row:
        judge(key, row["version"] if (row["id"], row["version"]) == (key, version) else -2, least, "by a unique key")
    elif connection.execute("SELECT count(*) FROM prey WHERE tag = %s", [f"{key}v{version}"]).fetchone()[0]:
        judge(key, None, version, "by a unique key that it had all the while")
    client.mget([f"prey:tag={id}v{next_version}" for id in range(1, KEYS + 1)])


def hunt(db, start, seconds, seed=None, writers=4, readers=4, until_found=False, disturb=None, calm=None, config=None):
    seed = seed if seed is not None else random.randrange(1 << 30)
    db.execute(TABLE)
    db.execute(f"INSERT INTO prey SELECT i, 0 FROM generate_series(1, {KEYS}) i")
    f = start(db, {"cache": {"max_staleness": f"{int(BOUND * 1000)}ms", **(config or {})}})
    result, prey, stop, failures = Hunt(), Prey(), threading.Event(), []
    counter, counting = [0], threading.Lock()

    class Clock:
        def __next__(self):
            with counting:
                counter[0] += 1
                return counter[0]

    def judge(key, version, least, how):
        if version is None or version < least:
            result.violations.append(f"key {key}: {version}, at least {least} {how} (seed {seed})")
            if until_found:
                stop.set()

    def write(number):
        dice, clock = random.Random(seed + number), Clock()
        client = f.client()
        with db.connect() as connection:
            while not stop.is_set():
                try:
                    versions = one_write(connection, dice, clock)
                except psycopg.errors.DeadlockDetected:
                    continue
                prey.tell(versions)
                result.writes += 1
                if versions and dice.random() < 0.2:
                    lsn = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
                    try:
                        client.execute_command("FRESHET.WAIT", lsn, 5000)
                    except redis.ResponseError:
                        continue
                    result.waits += 1
                    for key, version in versions.items():
                        judge(key, version_of(client, dice, key), version, "after FRESHET.WAIT")

    def read(number):
        with db.connect() as connection:
            read_over(number, connection)

    def read_over(number, connection):
        dice, client = random.Random(seed + 1000 + number), f.client()
        while not stop.is_set():
            key = dice.randint(1, KEYS)
            if dice.random() < 0.2:
                by_unique_key(client, dice, connection, prey, key, counter[0] + dice.randint(1, 8), judge)
            least = prey.least(key, time.monotonic() - BOUND)
            judge(key, version_of(client, dice, key), least, "by the bound")
            result.reads += 1

    def guarded(body, number):
        try:
            body(number)
        except Exception as failure:  # noqa: BLE001 - raised by the test's own thread
            failures.append(failure)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(write, i), daemon=True) for i in range(writers)]
    threads += [threading.Thread(target=guarded, args=(read, i), daemon=True) for i in range(readers)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.is_set():
        if disturb:
            disturb(f)
        stop.wait(0.2)
    stop.set()
    if calm:
        calm()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a writer or reader does not end"
    if failures:
        raise failures[0]
    f.wait_applied(db.value("SELECT pg_current_wal_insert_lsn()::text"))
    client = f.client()
    for row in db.rows("SELECT id, version, tag FROM prey"):
        for key in (f"prey:{row['id']}", f"prey:0{row['id']}", f"prey:tag={row['tag']}"):
            text = client.get(key)
            judge(row["id"], text and json.loads(text)["version"], row["version"], f"as {key} when all was quiet")
    return result
