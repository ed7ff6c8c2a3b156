"""Checks from the topics alone, as a reader of committed records, what the writers of bank.py wrote.

    audit = Audit(kafka, prefix)
    audit.look()                    reads on to the topics' ends; often, in a long run
    audit.finish(db)                and compares what the topics fold to with the tables
    audit.lost, .twice, .disorder, .imbalance, .wrong           what was found, as text
    audit.transactions, .events

Memory is bounded by what is between two looks: per account and per writer only the last version is kept. Transactions are put
together by their metadata and applied in commit order, up to the first that is not whole yet.
"""

import json
from collections import Counter

from bank import ACCOUNTS, START
from confluent_kafka import KafkaError, TopicPartition

TABLES = ("accounts", "counters", "steps")
HEADER = "freshet.position"


REMEMBERED = 200000


def forget_oldest(some):
    """Of a dict that would grow without bound."""
    if len(some) > REMEMBERED:
        for old in list(some)[: REMEMBERED // 2]:
            del some[old]


class Steps:
    """Of one writer: 1, 2, 3... in any order; what is below `whole` has all come."""

    def __init__(self):
        self.whole, self.beyond = 0, set()

    def add(self, n):
        """False: it was there already."""
        if n <= self.whole or n in self.beyond:
            return False
        self.beyond.add(n)
        while self.whole + 1 in self.beyond:
            self.whole += 1
            self.beyond.discard(self.whole)
        return True


class Audit:
    def __init__(self, kafka, prefix, isolation="read_committed"):
        self.kafka, self.prefix = kafka, prefix
        self.consumer = kafka.consumer(isolation__level=isolation)
        self.offsets = {}  # (topic, partition) -> next
        self.lost, self.twice, self.disorder, self.imbalance, self.wrong = [], [], [], [], []
        self.marked = self.unmarked = 0  # repeats with the position of what they repeat; others
        self.events = self.transactions = 0
        self.read_rows = 0  # accounts of snapshots
        self.versions = {}  # account -> version
        self.counters = {}  # writer -> n
        self.steps = {}  # writer -> Steps
        self.balances = {}  # as of the last transaction applied
        self.positions = {}  # (table, identity) -> position header, of the last ones
        self.pieces = {}  # xid -> [number of events, {account: balance}], not applied yet
        self.ends = {}  # xid -> (end LSN, event_count)
        self.reached = {}  # partition of ENDs -> LSN
        self.applied = {}  # xids, to know a repeated one

    def close(self):
        self.consumer.close()

    # ---- reading ----

    def look(self, last=False):
        for message in self.read():
            value = message.value()
            if value is None:
                continue
            event = json.loads(value)
            if message.topic() == f"{self.prefix}.transaction":
                self.boundary(event, message.partition())
                continue
            self.events += 1
            headers = {name: value.decode() for name, value in message.headers() or []}
            self.event(message.topic().rsplit(".", 1)[1], event, headers.get(HEADER))
        self.settle(None if last else min(self.reached.values(), default=0))

    def read(self):
        """The committed records from where it stopped to the ends."""
        wanted = {f"{self.prefix}.public.{table}" for table in TABLES} | {f"{self.prefix}.transaction"}
        known = self.consumer.list_topics(timeout=10).topics
        places = [
            TopicPartition(topic, p, self.offsets.get((topic, p), 0)) for topic in wanted & set(known) for p in known[topic].partitions
        ]
        for place in places:
            if place.topic == f"{self.prefix}.transaction":
                self.reached.setdefault(place.partition, 0)
        self.consumer.assign(places)
        unread = {(place.topic, place.partition) for place in places}
        while unread:
            message = self.consumer.poll(30)
            if message is None:
                raise TimeoutError(f"no end of {unread}")
            place = (message.topic(), message.partition())
            if message.error() is None:
                if place in unread:
                    self.offsets[place] = message.offset() + 1
                    yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                unread.discard(place)
            elif not message.error().retriable() and message.error().code() != KafkaError._ALL_BROKERS_DOWN:
                raise RuntimeError(str(message.error()))
        self.consumer.unassign()

    # ---- what each record says ----

    def event(self, table, event, position):
        row, source = event["after"], event["source"]
        key = (table, row["id"], row["version"]) if table == "accounts" else (table, row["writer"], row["n"])
        repeated = key in self.positions
        getattr(self, "see_" + table)(row, event["op"], repeated)
        # A snapshot that was cut off is another one when it is taken again.
        if repeated and event["op"] != "r" and self.positions[key]:
            marked = position is not None and self.positions[key] == position
            self.marked += marked
            self.unmarked += not marked
        self.positions[key] = event["op"] != "r" and position
        forget_oldest(self.positions)
        if event["op"] == "r":
            if table == "accounts":
                self.balances[row["id"]] = row["balance"]
                self.read_rows += 1
            return
        if source["txId"] in self.applied:
            return  # a repeat, which is told of
        piece = self.pieces.setdefault(source["txId"], [0, []])
        piece[0] += 1
        if table == "accounts":
            piece[1].append((event["transaction"]["total_order"], row["id"], row["balance"]))

    def follows(self, what, key, n, last, repeated, start):
        """Tells when `n` is not the next of its key."""
        before = last.get(key, 0)
        if start and (key not in last or n > before):  # also of a second snapshot, where the first was cut off
            last[key] = n
            return
        if n <= before:
            (self.twice if repeated else self.disorder).append(f"{what} {key}: {n} after {before}")
            return
        if n > before + 1:
            self.lost.append(f"{what} {key}: {n} after {before}")
        last[key] = n

    def see_accounts(self, row, op, repeated):
        self.follows("account", row["id"], row["version"], self.versions, repeated, op == "r")

    def see_counters(self, row, op, repeated):
        self.follows("counter", row["writer"], row["n"], self.counters, repeated, op == "r")

    def see_steps(self, row, op, repeated):
        if not self.steps.setdefault(row["writer"], Steps()).add(row["n"]):
            self.twice.append(f"step {row['writer']}:{row['n']}")

    def boundary(self, event, partition):
        if event["status"] != "END":
            return
        xid, lsn = (int(part) for part in event["id"].split(":"))
        self.reached[partition] = max(lsn, self.reached.get(partition, 0))
        if xid in self.applied or xid in self.ends:
            self.twice.append(f"END of transaction {xid}")
            return
        self.ends[xid] = (lsn, event["event_count"])

    # ---- transactions ----

    def settle(self, bound):
        """Applies whole transactions in commit order, up to the first that is not whole, and to where each partition has been
        read: the partitions were not read at one moment."""
        for xid in sorted(self.ends, key=lambda xid: self.ends[xid][0]):
            n, changes = self.pieces.get(xid, (0, []))
            if n < self.ends[xid][1] or (bound is not None and self.ends[xid][0] > bound):
                break
            if n > self.ends[xid][1]:
                self.twice.append(f"transaction {xid}: {n} events of {self.ends[xid][1]}")
            for _, account, balance in sorted(changes):
                self.balances[account] = balance
            if sum(self.balances.values()) != ACCOUNTS * START:
                self.imbalance.append(f"sum {sum(self.balances.values())} after transaction {xid}")
            self.transactions += 1
            self.applied[xid] = True
            forget_oldest(self.applied)
            del self.ends[xid]
            self.pieces.pop(xid, None)

    def finish(self, db):
        self.look(last=True)
        self.lost += [f"transaction {xid}: {self.pieces.get(xid, [0])[0]} events of {n}" for xid, (_, n) in self.ends.items()]
        self.lost += [f"transaction {xid}: no END" for xid in self.pieces if xid not in self.ends and xid not in self.applied]
        tables = {
            "accounts": ("SELECT id AS k, version AS n FROM accounts", self.versions),
            "balances": ("SELECT id AS k, balance AS n FROM accounts", self.balances),
            "counters": ("SELECT writer AS k, n FROM counters", self.counters),
            "steps": ("SELECT writer AS k, max(n) AS n FROM steps GROUP BY 1", {w: s.whole for w, s in self.steps.items()}),
        }
        for name, (sql, folded) in tables.items():
            table = {row["k"]: row["n"] for row in db.rows(sql)}
            self.wrong += [f"{name} {key}: {folded.get(key)}, and {n} in the table" for key, n in table.items() if folded.get(key) != n]
        return self

    def figures(self):
        counts = Counter({name: len(getattr(self, name)) for name in ("lost", "twice", "disorder", "imbalance", "wrong")})
        return {"events": self.events, "transactions": self.transactions, **counts, "marked": self.marked, "unmarked": self.unmarked}

    def findings(self):
        """Of a stream that is exactly once."""
        if self.read_rows != ACCOUNTS:
            self.wrong.append(f"{self.read_rows} rows of snapshots, of {ACCOUNTS} accounts")
        return self.lost + self.disorder + self.imbalance + self.wrong + self.twice
