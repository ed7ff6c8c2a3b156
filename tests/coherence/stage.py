"""Servers and caches for hunts, made as scenarios ask for them; and one hunt with one fault."""

import prey
from hunter import Hunt
from support.freshet import Freshet, merge
from support.kafka import Kafka
from support.postgres import Postgres
from support.process import Workshop

CONFIG = {
    "max_memory": "8MiB",
    "max_staleness": "1s",
    "ttl": "5s",
    "negative_ttl": "5s",
}


class Stage:
    """with Stage() as stage: ...      A server is shared by the hunts, but for those that ask for their own."""

    def __init__(self, workshop=None, shared=None, kafka=None):
        self.workshop = workshop or Workshop()
        self._own = workshop is None  # else somebody else closes it, and what is shared
        self._shared = shared
        self._closers = []
        self.proxy = self.standby = self.publisher = None
        self.kafka = kafka
        self._own_kafka = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.tidy()
        if self._own_kafka:
            self._own_kafka.stop()
        if self._own:
            if self._shared:
                self._shared.remove()
            self.workshop.close()

    def later(self, close):
        self._closers.append(close)

    def tidy(self):
        while self._closers:
            self._closers.pop()()

    def make_server(self, **settings):
        server = Postgres(self.workshop, **settings)
        self.later(server.remove)
        return server

    def server(self, own, settings):
        if own or settings:
            return self.make_server(**settings)
        if not self._shared:
            self._shared = Postgres(self.workshop)
        return self._shared

    def make_standby(self, primary, **settings):
        self.standby = primary.create_standby(**settings)
        self.later(self.standby.remove)
        return self.standby

    def broker(self):
        if not self.kafka:
            self.kafka = self._own_kafka = Kafka(self.workshop)
        return self.kafka

    def make_freshet(self, db, config, env):
        freshet = Freshet(self.workshop, merge({"database": {"url": db.url}}, config), env=env).start()
        self.later(freshet.close)
        return freshet


def hunt_with(stage, fault, seconds, *, seed=None, env=None, until_found=False, db=None, start=None, **more):
    """One hunt beside one fault. `db`, `start`: an empty database and what makes a cache on it, else the stage's own."""
    db = db or stage.server(fault.own_server, fault.settings).create_database()
    with db.connect() as connection:
        connection.execute(prey.TABLES)
    config = {"cache": {**CONFIG, "queries": prey.QUERIES}}
    if fault.prepare:
        merge(config, fault.prepare(stage, db))
    freshet = start(db, config) if start else stage.make_freshet(db, config, env)
    if fault.ready:
        fault.ready(stage, db, freshet)
    hunt = Hunt(db, freshet, bound=fault.bound, seed=seed, until_found=until_found, **{**fault.hunters, **more})
    hunt.stage = stage
    try:
        hunt.run(seconds, fault.disturb, fault.calm)
    finally:
        freshet.figures = hunt.figures()
        hunt.figures = lambda: freshet.figures
        stage.tidy()
    return hunt
