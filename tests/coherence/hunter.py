"""The hunter of stale reads: writers change rows by every kind of statement, readers judge each answer.

    hunt = Hunt(db, freshet, bound=1.0, seed=7)
    hunt.run(seconds, disturb)              disturb(hunt) makes trouble until hunt.stopping is set
    hunt.violations, hunt.figures()

A read is as new as what had been committed max_staleness before it began (or the bound that it asks for); after FRESHET.WAIT
or FRESHET.MINLSN as that LSN, after a write through the cache as that; one that asks for STRICT (or every one, where the
cache's feed is a synchronous standby: bound 0) as what COMMIT had returned before it began. When all is quiet every key
equals the database.
"""

import random
import threading
import time
from collections import Counter

import psycopg
import redis

import prey
from ledger import Ledger
from support.rawresp import Error, RawResp

FILLER_BYTES = 2000


class Hunt:
    def __init__(self, db, freshet, *, bound=1.0, seed=None, writers=6, readers=3, batch=16, until_found=False,
                 through=False, safe=False, waits=True):  # fmt: skip
        self.db, self.freshet, self.bound = db, freshet, bound
        self.seed = random.randrange(1 << 30) if seed is None else seed
        self.writers, self.readers, self.until_found = writers, readers, until_found
        self.through, self.safe = through, safe  # some writes go through the cache; no commit may be lost
        self.waits = waits  # for an LSN: not where changes are not streamed, as of a table that is out of the publication
        self.batch = batch
        self.ledger = Ledger()
        self.stopping = threading.Event()
        self.count = Counter()
        self.refusals = Counter()
        self.violations = []
        self._failures = []
        self._before = Counter()
        self.connect = db.connect  # a scenario may lead the writers elsewhere
        self.ledger.told(self.ledger.intend(prey.NAMES))

    # ---- judging ----

    def judge(self, name, version, floor, how, begun=None):
        wrong = self.ledger.judge(name, version, floor)
        if not wrong:
            return
        since = f", committed {time.monotonic() - floor.told_at:.3f} s ago" if floor.told_at else ""
        if begun and floor.told_at:
            since = f", committed {begun - floor.told_at:.3f} s before the read"
        self.violation(f"{name}: {wrong} ({how}{since})")

    def violation(self, text):
        self.violations.append(text)
        if self.until_found:
            self.stopping.set()

    # ---- writing ----

    def write(self, number):
        dice = random.Random(self.seed + number)
        raw = RawResp(self.freshet.port)
        while not self.stopping.is_set():
            try:
                with self.connect(autocommit=False) as connection:
                    self.write_on(connection, dice, raw)
            except psycopg.OperationalError:
                # The outcome of what it had sent is unknown, and stays so.
                self.count["connections lost"] += 1
                self.stopping.wait(0.1)
        raw.close()

    def write_on(self, connection, dice, raw):
        while not self.stopping.is_set():
            if self.through and dice.random() < 0.4:
                self.write_through(connection, dice, raw)
                continue
            kind = dice.choice(prey.KINDS)
            events = []
            try:
                connection.execute(f"SET LOCAL synchronous_commit = {self.commit_mode(dice)}")
                events = self.ledger.intend(kind(connection, dice, self.ledger.next))
                if dice.random() < 0.1:  # some stay open, and may end without a commit
                    self.stopping.wait(dice.random() * 0.3)
                if dice.random() < 0.15:
                    connection.rollback()
                    self.ledger.undone(events)
                    self.count["rollbacks"] += 1
                    continue
                connection.commit()
            except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                connection.rollback()
                self.ledger.undone(events)
                continue
            self.ledger.told(events)
            self.count["commits"] += 1
            if self.waits and dice.random() < 0.2:
                self.wait_and_read(connection, dice, raw, events)

    def commit_mode(self, dice):
        return "on" if self.bound == 0 or self.safe else dice.choice(["on", "on", "on", "off", "remote_apply"])

    def wait_and_read(self, connection, dice, raw, events):
        """The writer's own LSN: waited for by all, or asked for by one connection without waiting."""
        lsn = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
        connection.rollback()
        words = dice.choice([["FRESHET.WAIT", lsn, 10000], ["FRESHET.MINLSN", lsn]])
        if isinstance(raw.call(*words), Error):
            self.count["waits in vain"] += 1
            return
        self.count["waits"] += 1
        self.read_back(dice, raw, events, f"after {words[0]}")

    def write_through(self, connection, dice, raw):
        i = dice.randint(1, prey.ROWS["seats"])
        prey.lock(connection, "seats", [i])
        hall, seat = connection.execute("SELECT hall, seat FROM seats WHERE id = %s", [i]).fetchone()
        version = self.ledger.next()
        events = self.ledger.intend({f"seats/{i}": version, f"seat/{hall}/{seat}": version})
        # An error leaves open what has become of it.
        if not self.refused(raw.call("HSET", f"seats:{i}", "version", version)):
            self.ledger.told(events)
            self.count["own writes"] += 1
            self.read_back(dice, raw, events, "after a write through the cache")
        connection.rollback()

    def read_back(self, dice, raw, events, how):
        picks = [self.pick(dice, event.name) for event in events]
        for event, (words, decode), reply in zip(events, picks, raw.calls([words for words, _ in picks])):
            if not self.refused(reply):
                self.judge(event.name, decode(reply), event, f"{how}: {' '.join(words)}")

    # ---- reading ----

    def pick(self, dice, name):
        """A command that reads it, and what makes a version of the reply."""
        queries = prey.queries_of(name)
        if queries and dice.random() < 0.2:
            return dice.choice(queries)
        keys = prey.keys_of(name)
        key = dice.choice(keys) if dice.random() < 0.2 else keys[0]
        form = dice.choice(["GET", "GET", "HGET", "MGET"])
        if form == "HGET":
            return ["HGET", key, "version"], prey.from_field
        if form == "MGET":
            other = prey.keys_of(dice.choice(self.names))[0]
            return ["MGET", key, other], lambda reply: prey.from_json(reply[0])
        return ["GET", key], prey.from_json

    def refused(self, reply):
        if isinstance(reply, Error):
            self.count["refused"] += 1
            self.refusals[reply.text] += 1
            return True
        return False

    def read(self, number):
        dice = random.Random(self.seed + 1000 + number)
        raw = RawResp(self.freshet.port)
        while not self.stopping.is_set():
            if dice.random() < 0.05:
                self.read_twins(raw, dice)
                if self.waits:
                    self.read_within(raw, dice)
            names = dice.choices(self.names, k=self.batch)
            picks = [self.pick(dice, name) for name in names]
            begun = time.monotonic()
            floors = [self.ledger.floor(name, begun - self.bound) for name in names]
            for name, (words, decode), floor, reply in zip(names, picks, floors, raw.calls([words for words, _ in picks])):
                if not self.refused(reply):
                    self.count["reads"] += 1
                    self.judge(name, decode(reply), floor, f"by the bound: {' '.join(words)}", begun)
        raw.close()

    def read_twins(self, raw, dice):
        """Rows that one transaction keeps equal, both from the database: one snapshot."""
        names = [f"twins_{twin}/{i}" for i in dice.sample(range(1, prey.ROWS["twins"] + 1), 2) for twin in "ab"]
        begun = time.monotonic()
        floors = [self.ledger.floor(name, begun) for name in names]
        reply = raw.call("FRESHET.READ", "STRICT", *[prey.keys_of(name)[0] for name in names])
        if self.refused(reply):
            return
        versions = [prey.from_json(text) for text in reply]
        self.count["strict reads"] += len(names)
        for name, version, floor in zip(names, versions, floors):
            self.judge(name, version, floor, "read STRICT", begun)
        if versions[0] != versions[1] or versions[2] != versions[3]:
            self.violation(f"twins of one transaction, read together: {versions}")

    def read_within(self, raw, dice):
        """A bound of its own."""
        name = dice.choice(self.names)
        bound = dice.choice([50, 300, 5000])
        begun = time.monotonic()
        floor = self.ledger.floor(name, begun - bound / 1000)
        reply = raw.call("FRESHET.READ", "BOUNDED", bound, prey.keys_of(name)[0])
        if not self.refused(reply):
            self.count["bounded reads"] += 1
            self.judge(name, prey.from_json(reply[0]), floor, f"read BOUNDED {bound}", begun)

    def fill_memory(self, number):
        """Keys of no table press on memory, so that rows are evicted for room."""
        dice = random.Random(self.seed + 2000)
        raw = RawResp(self.freshet.port)
        text = b"x" * FILLER_BYTES
        while not self.stopping.wait(0.02):
            raw.calls([["SET", f"filler{dice.randrange(100000)}", text] for _ in range(20)])
        raw.close()

    # ---- the whole ----

    def guarded(self, body, *args):
        try:
            body(*args)
        except Exception as failure:  # noqa: BLE001 - raised by the hunt's own thread
            if not self.stopping.is_set():
                self._failures.append(failure)
            self.stopping.set()

    def run(self, seconds, disturb=None, calm=None):
        self.names, self.seconds = sorted(prey.NAMES), seconds
        self._before = self.metrics()
        bodies = [(self.write, i) for i in range(self.writers)] + [(self.read, i) for i in range(self.readers)]
        bodies += [(self.fill_memory, 0)] + ([(disturb, self)] if disturb else [])
        threads = [threading.Thread(target=self.guarded, args=body, daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        self.stopping.wait(seconds)
        self.stopping.set()
        if calm:
            calm(self)
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                raise AssertionError("a writer or reader does not end")
        if self._failures:
            raise self._failures[0]
        self.judge_quiet()
        return self

    def judge_quiet(self):
        with self.connect() as connection:
            lsn = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
            self.freshet.wait_applied(lsn, 30)
            now = prey.all_now(connection)
        raw = RawResp(self.freshet.port)
        for name, version in now.items():
            for words, decode in prey.reads_of(name):
                reply = raw.call(*words)
                if isinstance(reply, Error):
                    self.violation(f"{words[1]} when all was quiet: {reply.text}")
                elif decode(reply) != version:
                    self.violation(f"{words[1]} when all was quiet: {decode(reply)}, in the database {version}")
        raw.close()

    def metrics(self):
        found = Counter()
        for name, labels, value in self.freshet.metrics():
            if name == "freshet_cache_fills_total":
                found[f"fills {labels['outcome']}"] += int(value)
            elif name == "freshet_cache_fills_joined_total":
                found["fills joined"] += int(value)
            elif name == "freshet_cache_evictions_total" and labels["cause"] == "memory":
                found["evicted for room"] += int(value)
            elif name == "freshet_cache_fills_blocked_total":
                found["gaps hit"] += int(value)
            elif name == "freshet_cache_hits_total":
                found["hits"] += int(value)
        return found

    def figures(self):
        now = self.metrics()
        # Of a process that was started anew the counters began at zero.
        since = Counter({name: value - self._before[name] if value >= self._before[name] else value for name, value in now.items()})
        shown = {**self.count, "reads": self.count["reads"] + self.count["strict reads"] + self.count["bounded reads"]}
        shown["fills"] = since["fills installed"] + since["fills uncached"]
        shown["retries"] = since["fills retried"]
        for name in ("gaps hit", "hits", "fills joined", "evicted for room"):
            shown[name] = since[name]
        shown["violations"] = len(self.violations)
        return shown
