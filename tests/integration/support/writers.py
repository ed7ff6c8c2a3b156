"""A table of users that connectors follow, and threads that change it at random."""

import random
import threading

import psycopg

USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name text, age int, note text)"


def fill(db, n, first=1):
    db.execute(
        "INSERT INTO users SELECT i, 'name ' || i, i %% 90, NULL FROM generate_series(%s::bigint, %s::bigint) i",
        [first, first + n - 1],
    )


class Writers:
    """Threads that change `users` at random until they are told to stop; `rest`: seconds after each transaction."""

    def __init__(self, db, n=3, keys=600, rest=0):
        self.stop, self.rest = threading.Event(), rest
        self.transactions = 0
        self.threads = [threading.Thread(target=self._run, args=(db, seed, keys), daemon=True) for seed in range(n)]
        for thread in self.threads:
            thread.start()

    def _run(self, db, seed, keys):
        choice = random.Random(seed)
        with db.connect() as connection:
            while not self.stop.is_set():
                try:
                    with connection.transaction():
                        for _ in range(choice.choice([1, 1, 1, 20])):
                            self._change(connection, choice, choice.randint(1, keys))
                    self.transactions += 1
                    self.stop.wait(self.rest)
                except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                    pass  # two that move one key, or wait for each other: one is rolled back

    @staticmethod
    def _change(connection, choice, key):
        kind = choice.random()
        if kind < 0.4:
            connection.execute(
                "INSERT INTO users VALUES (%s, 'w', %s, repeat(md5(random()::text), %s))"
                " ON CONFLICT (id) DO UPDATE SET age = excluded.age",
                [key, choice.randint(0, 1000), choice.choice([0, 1, 200])],
            )
        elif kind < 0.7:
            connection.execute("UPDATE users SET age = age + 1 WHERE id = %s", [key])
        elif kind < 0.88:
            connection.execute("DELETE FROM users WHERE id = %s", [key])
        elif kind < 0.95:
            connection.execute("UPDATE users SET id = id + 100000 WHERE id = %s", [key])
        else:
            connection.execute("UPDATE users SET id = id - 100000 WHERE id = %s + 100000", [key])

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self.threads)
