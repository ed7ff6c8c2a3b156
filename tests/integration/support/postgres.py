"""PostgreSQL servers of the tests, and databases in them."""

import itertools
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from .process import ROOT, Process, free_port
from .waiting import wait_until

DISTRIBUTION = Path("/usr/lib/postgresql")
SHOP = ROOT / "tests" / "demo" / "shop.sql"

SETTINGS = {
    "wal_level": "logical",
    "max_connections": 200,
    "max_wal_senders": 40,
    "max_replication_slots": 40,
    "max_prepared_transactions": 20,
    "listen_addresses": "127.0.0.1",
    # Nobody's data: the speed of a test counts for more than a power cut.
    "fsync": "off",
    "synchronous_commit": "on",
    "autovacuum_naptime": "1min",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def programs(workshop, version):
    """The folder of initdb and postgres."""
    if version == "18":
        return workshop.part("postgres18") / "bin"
    installed = sorted(DISTRIBUTION.glob("*/bin"), key=lambda found: int(found.parent.name))
    if not installed:
        raise RuntimeError("PostgreSQL is not installed: run tests/deps test")
    # 15 is Debian 12's; a newer distribution's own takes its place.
    return next((found for found in installed if found.parent.name == version), installed[-1])


class Postgres:
    """One server. Its superuser is `postgres`; any password will do.

    server.execute(sql), server.rows(sql), server.value(sql)       in the database `postgres`
    server.create_database(template=None) -> Database
    server.set("synchronous_standby_names", "'nobody'")            ALTER SYSTEM and reload; None resets
    server.stop(), server.start(), server.kill9()                  it keeps its data and port
    """

    _data = {}  # (workshop, version) -> an initdb'ed folder that others are copied from

    def __init__(self, workshop, version="15", **settings):
        self._workshop = workshop
        self.version = version
        self._bin = programs(workshop, version)
        self._folder = workshop.make_folder(f"postgres{version}", unprivileged=True)
        self.port = free_port()
        self._names = itertools.count(1)
        self._shop = None
        self.process = None
        self._initdb()
        lines = {**SETTINGS, "port": self.port, "unix_socket_directories": str(self._folder), **settings}
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
        self.start()

    @property
    def data(self):
        return self._folder / "data"

    def _initdb(self):
        # A first initdb a version, and copies of it: a second saved each time.
        key = (id(self._workshop), self.version)
        if key not in Postgres._data:
            made = self._workshop.make_folder(f"initdb{self.version}", unprivileged=True) / "data"
            self._workshop.run(
                [self._bin / "initdb", "-D", made, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                 "--no-instructions", "--locale=C.UTF-8"],
                unprivileged=True,
            )
            Postgres._data[key] = made
        self._workshop.run(["cp", "-a", Postgres._data[key], self.data], unprivileged=True)

    def create_standby(self, **settings):
        """A hot standby of this server, by pg_basebackup, that follows it by streaming."""
        return Standby(self._workshop, self, **settings)

    def pause(self):
        """As a machine that is cut off: connections stay open, and nothing answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self):
        """The postmaster first, so that it starts no others meanwhile."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def start(self):
        self.process = Process(
            self._workshop,
            [self._bin / "postgres", "-D", self.data],
            self._workshop.make_folder("postgres-log"),
            name=f"postgres{self.version}",
            unprivileged=True,
            gently=signal.SIGINT,
        )
        wait_until(self._answers, 30, f"{self.process.name} answers")

    def _answers(self):
        self.process.assert_running()
        return self.value("SELECT 1") == 1

    def stop(self):
        """A fast shutdown."""
        self.process.end()

    def kill9(self):
        self.process.kill9()

    def remove(self):
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database="postgres", user="postgres"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, database="postgres", **options):
        options.setdefault("autocommit", True)
        return psycopg.connect(self.url(database), **options)

    def execute(self, sql, params=None):
        with self.connect() as connection:
            return connection.execute(sql, params).rowcount

    def rows(self, sql, params=None):
        with self.connect(row_factory=dict_row) as connection:
            return connection.execute(sql, params).fetchall()

    def value(self, sql, params=None):
        with self.connect() as connection:
            return connection.execute(sql, params).fetchone()[0]

    def set(self, name, value):
        self.execute(f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = {value}")
        before = self.value("SELECT pg_conf_load_time()")
        self.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.value("SELECT pg_conf_load_time()") > before, what=f"{name} is loaded")

    def create_database(self, template=None):
        name = f"t{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return Database(self, name)

    def database(self, name):
        return Database(self, name)

    def create_shop(self):
        if not self._shop:
            self.execute("CREATE DATABASE shop_template")
            with self.connect("shop_template") as connection:
                connection.execute(SHOP.read_text())
            self._shop = "shop_template"
        return self.create_database(self._shop)


class Standby(Postgres):
    """A hot standby: rows can be read. standby.database(name) for a database that its primary has.

    standby.hold(), standby.release()       it receives and does not replay; it replays again
    standby.catch_up()
    standby.promote()
    standby.follow(server)                  of another primary, from now on: starts again
    """

    def __init__(self, workshop, primary, **settings):
        self.primary = primary
        self._settings = settings
        super().__init__(workshop, primary.version, hot_standby_feedback="on", **settings)

    def _initdb(self):
        if not (self._bin / "pg_basebackup").exists():
            self._copy()
            return
        self._workshop.run(
            [self._bin / "pg_basebackup", "-D", self.data, "-d", self.primary.url(), "-X", "stream", "-c", "fast",
             "--no-sync", "-R"],
            unprivileged=True,
        )

    def _copy(self):
        """What pg_basebackup does, for a PostgreSQL that comes without it."""
        with self.primary.connect() as backup:
            backup.execute("SELECT pg_backup_start('standby', true)")
            self._workshop.run(["cp", "-a", self.primary.data, self.data], unprivileged=True)
            label = backup.execute("SELECT labelfile FROM pg_backup_stop(false)").fetchone()[0]
        for gone in [*self.data.glob("pg_wal/0*"), *self.data.glob("pg_replslot/*"), self.data / "postmaster.pid"]:
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        for name, text in {"backup_label": label, "standby.signal": ""}.items():
            (self.data / name).write_text(text)
            owner = self.data.stat()
            os.chown(self.data / name, owner.st_uid, owner.st_gid)
        with open(self.data / "postgresql.auto.conf", "a") as conf:
            conf.write(f"primary_conninfo = '{self.primary.url()}'\n")

    def hold(self):
        self.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.value("SELECT pg_get_wal_replay_pause_state()") == "paused", what="replay is paused")

    def release(self):
        self.execute("SELECT pg_wal_replay_resume()")

    def replayed(self):
        return self.value("SELECT pg_last_wal_replay_lsn()::text")

    def catch_up(self):
        """Waits until everything is replayed that the primary has committed."""
        lsn = self.primary.value("SELECT pg_logical_emit_message(true, 'test', '')::text")
        wait_until(lambda: self.replayed_up_to(lsn), what=f"{lsn} is replayed")

    def replayed_up_to(self, lsn):
        return self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn])

    def promote(self):
        self.execute("SELECT pg_promote(true, 60)")
        wait_until(lambda: not self.value("SELECT pg_is_in_recovery()"), what="it is promoted")

    def follow(self, server):
        self.stop()
        with open(self.data / "postgresql.auto.conf", "a") as conf:
            conf.write(f"primary_conninfo = '{server.url()}'\n")
        self.primary = server
        self.start()


class Database:
    """One database.

    db.url                                    for Freshet's database.url
    db.execute("UPDATE t SET a = %s", [1])    one transaction; returns the number of rows
    db.execute_many("INSERT INTO t ...", "UPDATE t ...")      several statements, one transaction
    db.rows(sql) -> list of dict, db.row(sql) -> dict, db.value(sql)
    db.connect(autocommit=False)              a psycopg connection of your own
    with db.commit_held("UPDATE ..."):        the visibility gap: the commit is in the WAL, streamed, and not yet
                                              visible. Needs a server of your own (make_postgres).
    db.lsn() -> "0/1A2B3C4", db.slots(), db.publications()
    """

    def __init__(self, server, name):
        self.server = server
        self.name = name
        self.url = server.url(name)
        self._connection = None

    def connect(self, **options):
        return self.server.connect(self.name, **options)

    def _session(self):
        if self._connection is None or self._connection.closed:
            self._connection = self.connect(row_factory=dict_row)
        return self._connection

    def execute(self, sql, params=None):
        return self._session().execute(sql, params).rowcount

    def execute_many(self, *statements):
        with self._session().transaction():
            for sql in statements:
                self._session().execute(sql)

    def rows(self, sql, params=None):
        return self._session().execute(sql, params).fetchall()

    def row(self, sql, params=None):
        return self._session().execute(sql, params).fetchone()

    def value(self, sql, params=None):
        return next(iter(self.row(sql, params).values()))

    def lsn(self):
        # Of the insert position: with synchronous_commit = off a commit returns before its flush.
        return self.value("SELECT pg_current_wal_insert_lsn()::text")

    def slots(self):
        return self.rows("SELECT * FROM pg_replication_slots WHERE database = %s ORDER BY slot_name", [self.name])

    def publications(self):
        return [row["pubname"] for row in self.rows("SELECT pubname FROM pg_publication ORDER BY 1")]

    @contextmanager
    def commit_held(self, *statements):
        """Commits, held by a synchronous standby that does not exist; on leaving, the commit becomes visible.

        Yields once the commit record is flushed. The committing session hangs in a background thread meanwhile.
        """
        import threading

        self.server.set("synchronous_standby_names", "'a_standby_that_does_not_exist'")
        failures = []

        def commit():
            try:
                with self.connect(autocommit=False) as connection:
                    for sql in statements:
                        connection.execute(sql)
            except Exception as error:  # noqa: BLE001 - shown by the test's thread
                failures.append(error)

        thread = threading.Thread(target=commit, daemon=True)
        thread.start()
        try:
            wait_until(
                lambda: failures or self.value(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = %s", [self.name]
                ),
                what="the commit hangs",
            )
            assert not failures, failures
            yield
        finally:
            self.server.set("synchronous_standby_names", None)
            thread.join(30)
        assert not failures, failures

    def drop(self):
        if self._connection:
            self._connection.close()
        server = self.server
        if server.process.exit_code is not None:
            return

        def gone():
            for row in server.rows(
                "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [self.name]
            ):
                if row["active_pid"]:
                    server.execute("SELECT pg_terminate_backend(%s)", [row["active_pid"]])
                server.execute("SELECT pg_drop_replication_slot(%s)", [row["slot_name"]])
            server.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
            return True

        wait_until(gone, what=f"{self.name} is dropped")
