"""Servers for a storm, and one storm: writers, faults in turn, and the audit of the topics at the end."""

import random
import threading
import time

from audit import Audit
from bank import TABLES, Bank
from havoc import FAULTS, wait_streaming
from support.freshet import Freshet, merge
from support.kafka import Kafka
from support.postgres import Postgres
from support.process import Workshop, free_port
from support.waiting import wait_until

LOOK_EVERY_S = 10


def lsn_number(text):
    high, low = (int(part, 16) for part in text.split("/"))
    return high << 32 | low


class Storm:
    """with Storm(delivery="exactly-once") as storm: storm.blow(seconds=120); storm.findings() == []"""

    transaction_timeout_s = 5

    def __init__(self, workshop=None, delivery="exactly-once", seed=1, config=None, server=None, kafka=None):
        """Servers that are given are not to be killed."""
        self._own = workshop is None
        self.workshop = workshop or Workshop()
        self.seed, self.dice = seed, random.Random(seed)
        self.server, self.kafka, self._given = server, kafka, bool(server)
        self.audit = self.db = None
        self.copies, self.made = [], []
        self.prefix = f"storm{free_port()}"
        self.delivery = delivery
        self.more = config or {}
        self.faults = {}
        self.commits = 0
        self._calm = threading.Event()

    def __enter__(self):
        self.server = self.server or Postgres(self.workshop, wal_sender_timeout="15s")
        self.kafka = self.kafka or Kafka(self.workshop)
        self.db = self.server.create_database()
        self.db.execute(TABLES)
        self.copies = [self.make()]
        return self

    def __exit__(self, *exception):
        if self.audit:
            self.audit.close()
        for one in self.made:
            if one.process and one.process.exit_code is None:
                one.kill9()
        if self._given:
            self.db.drop()
        else:
            self.kafka.kill9()
            self.server.remove()
        if self._own:
            self.workshop.close()

    def make(self):
        config = {
            "roles": ["cdc"],
            "database": {"url": self.db.url},
            "cdc": {
                "prefix": self.prefix,
                "slot": self.prefix,
                "publication": self.prefix,
                "format": {"transaction_metadata": True},
                "kafka": {
                    "brokers": self.kafka.brokers,
                    "delivery": self.delivery,
                    "transaction_interval": "50ms",
                    "properties": {"transaction.timeout.ms": str(self.transaction_timeout_s * 1000)},
                },
            },
        }
        self.made.append(Freshet(self.workshop, merge(config, self.more), name="freshet-storm"))
        return self.made[-1].start(wait=False)

    def second(self, first):
        """A copy beside the first."""
        other = self.make()
        self.copies = [first, other]
        return other

    def rest(self, seconds):
        self._calm.wait(seconds)

    def blow(self, seconds=None, faults=None, rest=0.002):
        """Faults in turn: each of `faults` once, or for so long of all."""
        names = list(FAULTS) if faults is None else faults
        self.audit = Audit(self.kafka, self.prefix)
        wait_streaming(self)
        began = looked = time.monotonic()
        with Bank(self.db, seed=self.seed, rest=rest) as bank:
            for name in iter(lambda: self.dice.choice(names), None) if seconds else names:
                if seconds and time.monotonic() - began > seconds:
                    break
                FAULTS[name](self, self.dice)
                self.faults[name] = self.faults.get(name, 0) + 1
                if time.monotonic() - looked > LOOK_EVERY_S:
                    self.audit.look()
                    looked = time.monotonic()
            self.commits = bank.commits
        self.catch_up()
        self.audit.finish(self.db)

    def catch_up(self):
        self.db = self.server.database(self.db.name)  # the old connection may not have lived through it
        lsn = lsn_number(self.db.lsn())

        def done():
            return any(
                one.process.exit_code is None and lsn_number(one.status()["cdc"]["published_lsn"]) >= lsn for one in self.copies
            )

        wait_until(done, 120, "all is published", every=0.1)

    def tell(self):
        """What each copy last said, for a storm that went wrong."""
        for one in self.made:
            print(f"---- {one.folder.name}, exit code {one.process.exit_code}")
            print("\n".join(one.log_text().splitlines()[-40:]))

    def findings(self):
        return self.audit.findings()

    def figures(self):
        return {"commits": self.commits, "faults": self.faults, **self.audit.figures()}
