"""The writers of a storm: they move money between accounts, count, and append to a sequence each.

    with Bank(db, writers=4, seed=1) as bank: ...        bank.commits: how many so far

Each account has a version that grows by one with each change, each writer a counter that grows by one with each of its
transactions, and its steps are numbered without a gap: so what is lost, twice or out of order shows in the events
alone. Some transactions roll back, some roll back to a savepoint, some are large. A connection that breaks is made anew,
and whether its last commit counted is read from the database.
"""

import random
import threading
import time

import psycopg

ACCOUNTS = 20
START = 1000
LARGE = 200

TABLES = f"""
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, version int NOT NULL DEFAULT 0);
CREATE TABLE counters (writer int PRIMARY KEY, n int NOT NULL);
CREATE TABLE steps (writer int, n int, PRIMARY KEY (writer, n));
INSERT INTO accounts SELECT i, {START} FROM generate_series(1, {ACCOUNTS}) i;
"""
MOVE = "UPDATE accounts SET balance = balance + %s, version = version + 1 WHERE id = %s"
COUNT = "INSERT INTO counters VALUES (%s, 1) ON CONFLICT (writer) DO UPDATE SET n = counters.n + 1"
STEPS = "INSERT INTO steps SELECT %s, i FROM generate_series(%s::int, %s::int) i"


class Writer(threading.Thread):
    def __init__(self, db, number, seed, rest):
        super().__init__(daemon=True)
        self.db, self.number, self.random, self.rest = db, number, random.Random(seed), rest
        self.stopping = threading.Event()
        self.n = self.commits = 0
        self.failure = None

    def run(self):
        while not self.stopping.is_set():
            try:
                with self.db.connect(autocommit=False) as connection:
                    self.n = connection.execute(
                        "SELECT coalesce(max(n), 0) FROM steps WHERE writer = %s", [self.number]
                    ).fetchone()[0]
                    connection.commit()
                    while not self.stopping.is_set():
                        self.one(connection)
                        self.stopping.wait(self.rest)
            except psycopg.OperationalError:
                self.stopping.wait(0.05)  # the server is away
            except Exception as failure:  # noqa: BLE001 - shown by the storm's thread
                self.failure = failure
                return

    def one(self, connection):
        a, b = sorted(self.random.sample(range(1, ACCOUNTS + 1), 2))  # one order: no deadlocks
        amount = self.random.randint(-50, 50)
        steps = LARGE if self.random.random() < 0.02 else 1
        connection.execute(MOVE, [-amount, a])
        if self.random.random() < 0.1:
            connection.execute("SAVEPOINT s")
            connection.execute(MOVE, [7, b])
            connection.execute("ROLLBACK TO SAVEPOINT s")
        connection.execute(MOVE, [amount, b])
        connection.execute(COUNT, [self.number])
        connection.execute(STEPS, [self.number, self.n + 1, self.n + steps])
        if self.random.random() < 0.1:
            connection.rollback()
            return
        connection.commit()
        self.n += steps
        self.commits += 1


class Bank:
    def __init__(self, db, writers=4, seed=1, rest=0.002):
        self.writers = [Writer(db, i + 1, seed * 100 + i, rest) for i in range(writers)]

    @property
    def commits(self):
        return sum(writer.commits for writer in self.writers)

    def __enter__(self):
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        for writer in self.writers:
            writer.stopping.set()
        deadline = time.monotonic() + 60
        for writer in self.writers:
            writer.join(max(0.1, deadline - time.monotonic()))
            if writer.failure:
                raise writer.failure
