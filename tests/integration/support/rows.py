"""What the tests of read-through and coherence share: asking why, and holding back a fill or a commit."""

import threading
from contextlib import contextmanager

import redis

from .waiting import wait_until


def explain(f, key):
    """FRESHET.EXPLAIN as a dict."""
    flat = f.client().execute_command("FRESHET.EXPLAIN", key)
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2]))


def state(f, key):
    return explain(f, key)["state"]


def fills(f, outcome):
    return f.metric("freshet_cache_fills_total", outcome=outcome)


def keep(f, key, form="GET"):
    """Reads until the row is kept; returns the last answer."""
    client = f.client()

    def kept():
        answer = client.execute_command(form, key)
        return state(f, key) in ("resident", "absent") and (answer,)

    return wait_until(kept, what=f"{key} is kept")[0]


def refusal(f, key):
    """The error that a read of it answers; None where there is none."""
    try:
        f.redis.get(key)
    except redis.ResponseError as error:
        return str(error)
    return None


def applied(f, db):
    """The cache has applied all that was committed until now."""
    return f.wait_applied(db.value("SELECT pg_current_wal_insert_lsn()::text"))


def in_background(run):
    """Runs it on a thread; the result is a function that waits for what it returned."""
    outcome = {}

    def body():
        try:
            outcome["value"] = run()
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            outcome["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()

    def result(timeout=30):
        thread.join(timeout)
        assert not thread.is_alive(), "the thread still runs"
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    return result


class Gate:
    """A table whose rows cannot be read while the gate is shut: a statement waits in the middle, its snapshot taken.

    gate = Gate(db);  f = freshet_on(gate.url)
    with gate.shut(): ...
    """

    NUMBER = 4711

    def __init__(self, db):
        self.db = db
        role = f"gate_{db.name}"
        db.execute(f"CREATE ROLE {role} LOGIN REPLICATION")
        db.execute(f"GRANT CREATE ON DATABASE {db.name} TO {role}")
        db.execute(
            f"CREATE FUNCTION pass_gate() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
            f" PERFORM pg_advisory_lock_shared({self.NUMBER}); PERFORM pg_advisory_unlock_shared({self.NUMBER});"
            f" RETURN true; END $$"
        )
        db.execute("CREATE TABLE gated (id int PRIMARY KEY, v text)")
        db.execute("INSERT INTO gated SELECT i, 'old' FROM generate_series(1, 10) i")
        db.execute("ALTER TABLE gated ENABLE ROW LEVEL SECURITY")
        db.execute("ALTER TABLE gated FORCE ROW LEVEL SECURITY")
        db.execute("CREATE POLICY gate ON gated USING (pass_gate())")
        db.execute(f"ALTER TABLE gated OWNER TO {role}")
        self.url = db.server.url(db.name, role)

    def waiting(self):
        return self.db.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

    def drop_role(self):
        role = f"gate_{self.db.name}"
        self.db.execute(f"REASSIGN OWNED BY {role} TO postgres")
        self.db.execute(f"DROP OWNED BY {role}")
        self.db.execute(f"DROP ROLE {role}")

    @contextmanager
    def shut(self):
        with self.db.connect() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [self.NUMBER])
            try:
                yield
            finally:
                connection.execute("SELECT pg_advisory_unlock_all()")
