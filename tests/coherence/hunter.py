"""The hunter of stale reads: writers change rows by every kind of statement, readers judge each answer.

    hunt = Hunt(db, freshet, bound=1.0, seed=7)
    hunt.run(seconds, disturb)              disturb(hunt) makes trouble until hunt.stopping is set
    hunt.violations, hunt.figures()

A read is as new as what had been committed max_staleness before it began; after FRESHET.WAIT as that LSN; one that asks
for STRICT (or every one, where the cache's feed is a synchronous standby: bound 0) as what COMMIT had returned before it
began. When all is quiet every key equals the database.
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
    def __init__(self, db, freshet, *, bound=1.0, seed=None, writers=6, readers=3, batch=16, until_found=False, strict_reads=True):
        self.db, self.freshet, self.bound = db, freshet, bound
        self.seed = random.randrange(1 << 30) if seed is None else seed
        self.writers, self.readers, self.until_found, self.strict_reads = writers, readers, until_found, strict_reads
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
            if dice.random() < 0.2:
                self.wait_and_read(connection, dice, raw, events)

    def commit_mode(self, dice):
        return "on" if self.bound == 0 else dice.choice(["on", "on", "on", "off", "remote_apply"])

    def wait_and_read(self, connection, dice, raw, events):
        lsn = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
        connection.rollback()
        if isinstance(raw.call("FRESHET.WAIT", lsn, 10000), Error):
            self.count["waits in vain"] += 1
            return
        self.count["waits"] += 1
        keys = [(event, *self.pick(dice, event.name)) for event in events]
        for (event, words, decode), reply in zip(keys, raw.calls([words for _, words, _ in keys])):
            if not self.refused(reply):
                self.judge(event.name, decode(reply), event, "after FRESHET.WAIT")

    # ---- reading ----

    def pick(self, dice, name):
        """A command that reads it, and what makes a version of the reply."""
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
            if self.strict_reads and dice.random() < 0.05:
                self.read_twins(raw, dice)
            names = dice.choices(self.names, k=self.batch)
            picks = [self.pick(dice, name) for name in names]
            begun = time.monotonic()
            floors = [self.ledger.floor(name, begun - self.bound) for name in names]
            for name, (_, decode), floor, reply in zip(names, picks, floors, raw.calls([words for words, _ in picks])):
                if not self.refused(reply):
                    self.count["reads"] += 1
                    self.judge(name, decode(reply), floor, "by the bound", begun)
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
        self.names = sorted(prey.NAMES)
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
            for key in prey.keys_of(name):
                for words, decode in ((["GET", key], prey.from_json), (["HGET", key, "version"], prey.from_field)):
                    reply = raw.call(*words)
                    if isinstance(reply, Error):
                        self.violation(f"{key} when all was quiet: {reply.text}")
                    elif decode(reply) != version:
                        self.violation(f"{key} when all was quiet: {decode(reply)}, in the database {version}")
        raw.close()

    def metrics(self):
        found = Counter()
        for name, labels, value in self.freshet.metrics():
            if name == "freshet_cache_fills_total":
                found[f"fills {labels['outcome']}"] += int(value)
            elif name == "freshet_cache_fills_joined_total":
                found["fills joined"] += int(value)
            elif name == "freshet_cache_evictions_total":
                found[f"evicted by {labels.get('reason', labels.get('cause', '?'))}"] += int(value)
            elif name == "freshet_cache_hits_total":
                found["hits"] += int(value)
        return found

    def figures(self):
        now = self.metrics()
        # Of a process that was started anew the counters began at zero.
        since = Counter({name: value - self._before[name] if value >= self._before[name] else value for name, value in now.items()})
        shown = {"reads": self.count["reads"] + self.count["strict reads"], **self.count}
        shown["fills"] = since["fills installed"] + since["fills uncached"]
        shown["retries"] = since["fills retried"]
        shown["gaps hit"] = since["fills retried"] + since["fills uncached"]
        for name in ("hits", "fills joined"):
            shown[name] = since[name]
        shown["violations"] = len(self.violations)
        return shown
