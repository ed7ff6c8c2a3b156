"""What goes wrong while the hunt is on: for each fault a scenario, a context that makes what it needs and hunts in it.

    with FAULTS["stall"](stage) as scene:  scene.hunt(...)

A stage lends servers and caches (hunt's own, or pytest's fixtures); `disturb` runs on a thread of its own until the hunt stops.
"""

import os
import random
import signal
from dataclasses import dataclass, field
from typing import Callable

import psycopg

import prey
from support.stallproxy import StallProxy
from support.waiting import wait_until

FEED = """
SELECT s.active_pid FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.database = %s AND r.application_name = 'freshet_cache'
"""
BOUND = 1.0
DDL_BOUND = 3.0  # what is not streamed is seen by a poll of the catalog, each second
PATIENT = {"readers": 20, "batch": 3}  # where an answer may take a second


@dataclass
class Fault:
    name: str
    does: str
    disturb: Callable = None
    calm: Callable = None
    prepare: Callable = None  # (stage, db) -> changes of the configuration
    ready: Callable = None  # (stage, db, freshet): before the hunt begins
    own_server: bool = False  # it holds up every commit, or changes the server's settings
    settings: dict = field(default_factory=dict)
    bound: float = BOUND
    hunters: dict = field(default_factory=dict)  # of Hunt: how many, how many reads at a time


def feed_pid(db):
    with db.connect() as connection:
        row = connection.execute(FEED, [db.name]).fetchone()
        return row and row[0]


def every(hunt, shortest_s, longest_s, act):
    """Until the hunt stops."""
    dice = random.Random(hunt.seed + 3000)
    while not hunt.stopping.wait(shortest_s + dice.random() * (longest_s - shortest_s)):
        act(dice)


def stopped(hunt, pid, seconds):
    try:
        os.kill(pid, signal.SIGSTOP)
        hunt.stopping.wait(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


# ---- standbys ----


def hold(hunt, standby, seconds):
    standby.hold()
    hunt.stopping.wait(seconds)
    standby.release()


def wait_for_standby(stage, db, freshet):
    """Commits wait for it: "on" for its flush, "remote_apply" for its replay."""
    stage.make_standby(db.server, cluster_name="hunted")
    db.server.set("synchronous_standby_names", "hunted")
    wait_until(
        lambda: db.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"), what="the standby is synchronous"
    )


def stall_standby(hunt):
    """Its processes stop for up to seconds, or its replay does: what is committed meanwhile is logged, streamed, not visible."""
    standby = hunt.stage.standby

    def stall(dice):
        if dice.random() < 0.3:
            hold(hunt, standby, dice.choice([0.3, 2]))
            return
        standby.pause()
        hunt.stopping.wait(dice.choice([0.05, 0.3, 2.5]))
        standby.resume()

    every(hunt, 0.05, 0.6, stall)


def without_standby(hunt):
    hunt.db.server.set("synchronous_standby_names", None)


def fill_from_standby(stage, db):
    standby = stage.make_standby(db.server)
    return {"database": {"replicas": [standby.url(db.name)]}}


def standby_in_use(stage, db, freshet):
    wait_until(lambda: freshet.metric("freshet_cache_replica_in_use") == 1, what="the replica is in use")


def hold_replica(hunt):
    every(hunt, 0.1, 0.8, lambda dice: hold(hunt, hunt.stage.standby, dice.choice([0.05, 0.3, 0.9])))


# ---- a failover ----


def two_hosts(stage, db):
    """No commit that has returned is lost: it waits for the standby."""
    standby = stage.make_standby(db.server, cluster_name="hunted")
    db.server.set("synchronous_standby_names", "hunted")
    url = f"postgresql://postgres@127.0.0.1:{db.server.port},127.0.0.1:{standby.port}/{db.name}?target_session_attrs=read-write"
    return {"database": {"url": url}}


def promote(hunt):
    """Once: the primary dies, the standby takes its place."""
    standby = hunt.stage.standby
    if hunt.stopping.wait(hunt.seconds * 0.4):
        return
    hunt.db.server.kill9()
    standby.promote()
    hunt.connect = standby.database(hunt.db.name).connect
    hunt.count["failovers"] += 1


OTHERS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name !~ '^freshet' AND pid <> pg_backend_pid()"""


def fence(hunt):
    """Once: the standby takes the place of a primary that lives on, read-only, with all the connections that the cache has to it.
    Nobody writes until the cache follows the new one: before that it has no way to know of it."""
    primary, standby = hunt.db.server, hunt.stage.standby
    if hunt.stopping.wait(min(hunt.seconds * 0.4, 10)):
        return

    def away(**options):
        raise psycopg.OperationalError("nobody writes now")

    hunt.connect = away
    for _ in range(2):  # one may have been on its way in
        with hunt.db.connect() as connection:
            connection.execute(OTHERS)
        hunt.stopping.wait(0.2)
    primary.set("default_transaction_read_only", "on")
    wait_until(lambda: standby.replayed_up_to(primary.value("SELECT pg_current_wal_flush_lsn()::text")), what="all is replayed")
    with hunt.db.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'freshet_cache'")
    standby.promote()
    promoted = standby.database(hunt.db.name)
    wait_until(lambda: feed_pid(promoted), 40, "the cache follows the new primary")
    hunt.connect = promoted.connect
    hunt.count["failovers"] += 1


# ---- a standby that is missing: the same with no second server ----


def miss_standby(hunt):
    missing = [False]

    def toggle(dice):
        missing[0] = not missing[0]
        hunt.db.server.set("synchronous_standby_names", "'nobody'" if missing[0] else None)

    every(hunt, 0.1, 0.6, toggle)


# ---- strict: the cache's feed is the synchronous standby ----


def name_the_feed(stage, db, freshet):
    db.server.set("synchronous_standby_names", "'freshet_cache'")
    db.server.set("synchronous_commit", "remote_apply")
    wait_until(
        lambda: db.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"), what="the feed is a standby"
    )


# ---- entries whose TTL ends all the time, refreshed before and after, and filled at a pace ----


def live_short(stage, db):
    short = {"ttl": "60ms", "negative_ttl": "60ms", "ttl_jitter": 50}
    return {"cache": {**short, "early_refresh": 20, "stale_while_revalidate": "5s", "min_refill_interval": "20ms"}}


# ---- writes through ----


def write_through(stage, db):
    return {"cache": {"writes": "through"}}


def write_through_beside_replicas(stage, db):
    config = fill_from_standby(stage, db)
    config["cache"] = {**config.get("cache", {}), "writes": "through"}
    return config


def cut_writers(hunt):
    """What was sent with a COMMIT may have been written, or not; and the stream that would tell is ended as well."""
    own = ("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
           " AND application_name LIKE 'freshet%' AND backend_type = 'client backend' AND query !~ '^SELECT'")

    def cut(dice):
        with hunt.db.connect() as connection:
            hunt.count["writers cut"] += connection.execute(own).fetchone()[0]
        if dice.random() < 0.3 and (pid := feed_pid(hunt.db)):
            with hunt.db.connect() as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
            hunt.count["feeds cut"] += 1

    every(hunt, 0.2, 1.0, cut)


# ---- the feed ----


def cut_feed(hunt):
    def cut(dice):
        pid = feed_pid(hunt.db)
        if pid:
            with hunt.db.connect() as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
            hunt.count["feeds cut"] += 1

    every(hunt, 0.3, 2.5, cut)


def freeze_feed(hunt):
    def freeze(dice):
        pid = feed_pid(hunt.db)
        if pid:
            stopped(hunt, pid, dice.choice([0.2, 0.9, 1.5, 3]))
            hunt.count["feeds frozen"] += 1

    every(hunt, 0.3, 1.0, freeze)


# ---- a topic in place of a slot ----


def follow_topic(stage, db):
    """A publisher, and the cache on its topic."""
    cdc = {"prefix": f"hunt{os.getpid()}_{db.name}", "slot": f"hunt_{db.name}", "invalidations_interval": "100ms",
           "kafka": {"brokers": stage.broker().brokers, "transaction_interval": "20ms"}}
    stage.publisher = stage.make_freshet(
        db, {"roles": ["cdc"], "cdc": {**cdc, "invalidations": True, "snapshot": "never"}, "cache": {"queries": prey.QUERIES}}, None
    )
    return {"roles": ["cache"], "cdc": cdc, "cache": {"feed": "kafka"}}


def kill_publisher(hunt):
    def kill(dice):
        hunt.stage.publisher.kill9()
        hunt.stopping.wait(dice.choice([0, 0, 1]))
        hunt.stage.publisher.start()
        hunt.count["publishers killed"] += 1

    every(hunt, 0.5, 3, kill)


# ---- Freshet itself, and the network ----


def freeze_freshet(hunt):
    def freeze(dice):
        stopped(hunt, hunt.freshet.pid, dice.choice([0.2, 0.9, 1.5, 3]))
        hunt.count["stops"] += 1

    every(hunt, 0.3, 1.0, freeze)


def through_a_proxy(stage, db, slow=None):
    stage.proxy = StallProxy(db.server.port, slow=slow)
    stage.later(stage.proxy.close)
    return {"database": {"url": db.url.replace(f":{db.server.port}/", f":{stage.proxy.port}/"), "pool": 8}}


def stall_network(hunt):
    """Each connection for itself now and then, all of them, or cut."""
    proxy = hunt.stage.proxy
    proxy.stall(0.02, 1.5)

    def trouble(dice):
        kind = dice.choice(["hold", "hold", "cut", "none"])
        hunt.count["stalls"] += 1
        if kind == "hold":
            proxy.hold()
            hunt.stopping.wait(dice.choice([0.1, 0.5, 2]))
            proxy.let_go()
        elif kind == "cut":
            proxy.cut()

    every(hunt, 0.5, 2.0, trouble)
    proxy.stall(0, 0)
    proxy.let_go()


def fills_through_a_proxy(stage, db):
    """The feed and the watch on the primary's position are as quick as ever."""
    return through_a_proxy(stage, db, lambda first: b"replication" not in first and b"synchronous_commit" not in first)


def slow_fills_and_cuts(hunt):
    """Answers that are late by more than a cut of the feed takes, and by more than what is remembered."""
    hunt.stage.proxy.stall(0.02, 1.5)
    cut_feed(hunt)
    hunt.stage.proxy.stall(0, 0)


def calm_network(hunt):
    hunt.stage.proxy.stall(0, 0)
    hunt.stage.proxy.let_go()


# ---- schema changes beside the rows ----


def change_schema(hunt):
    changes = [
        "ALTER TABLE prey ADD COLUMN extra int DEFAULT 7",
        "ALTER TABLE prey DROP COLUMN extra",
        "ALTER TABLE seats ALTER COLUMN hall TYPE bigint",
        "ALTER TABLE seats ALTER COLUMN hall TYPE int",
        "ALTER TABLE prey RENAME COLUMN pad TO padding",
        "ALTER TABLE prey RENAME COLUMN padding TO pad",
        "ALTER TABLE parts ADD COLUMN extra text",
        "ALTER TABLE parts DROP COLUMN extra",
        "ALTER PUBLICATION freshet_cache DROP TABLE cut",
        "DROP PUBLICATION freshet_cache",
    ]
    turn = [0]

    def change(dice):
        with hunt.db.connect() as connection:
            connection.execute("SET lock_timeout = '500ms'")
            try:
                connection.execute(changes[turn[0] % len(changes)])
                hunt.count["schema changes"] += 1
            except Exception as failure:  # noqa: BLE001 - told by its kind
                hunt.refusals[f"schema: {type(failure).__name__}"] += 1
                return
        turn[0] += 1

    every(hunt, 0.5, 1.5, change)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("none", "no synchronous standby, memory short"),
        Fault("missing", "a synchronous standby comes and goes: every commit waits, streamed and not visible",
              miss_standby, without_standby, own_server=True),
        Fault("standby", "a real synchronous standby that stops for up to 2.5 s", stall_standby, without_standby,
              ready=wait_for_standby, own_server=True),
        Fault("replicas", "rows are read from a standby whose replay stops and goes on", hold_replica,
              prepare=fill_from_standby, ready=standby_in_use, own_server=True),
        Fault("promote", "the primary dies, its standby is promoted", promote, prepare=two_hosts, own_server=True,
              hunters={"safe": True}),
        Fault("fenced", "the standby is promoted, the primary lives on and refuses writes", fence, prepare=two_hosts,
              own_server=True, hunters={"safe": True}),
        Fault("writes", "some writes go through the cache", prepare=write_through, hunters={"through": True}),
        Fault("unsure", "the same, while the connections of these writes are ended, and the walsender", cut_writers,
              prepare=write_through, hunters={"through": True}),
        Fault("own", "the same beside a standby that rows are read from, whose replay stops and goes on", hold_replica,
              prepare=write_through_beside_replicas, ready=standby_in_use, own_server=True, hunters={"through": True}),
        Fault("strict", "remote_apply with the cache's feed as the synchronous standby: no read is older than COMMIT",
              None, without_standby, ready=name_the_feed, own_server=True, bound=0),
        Fault("held", "the same, and the walsender is ended again and again: its slot waits for commits that wait for it",
              cut_feed, without_standby, ready=name_the_feed, own_server=True, bound=0),
        Fault("hot", "TTLs that end all the time, early refresh, rows that stay while they are read again, a pace of fills",
              cut_feed, prepare=live_short),
        Fault("cut", "the walsender is ended", cut_feed),
        Fault("topic", "the cache follows a publisher's topic in place of a slot", prepare=follow_topic),
        Fault("publisher", "the same, while the publisher is killed again and again", kill_publisher, prepare=follow_topic),
        Fault("frozen", "the walsender stops for up to 3 s", freeze_feed),
        Fault("stopped", "Freshet stops for up to 3 s", freeze_freshet),
        Fault("network", "a network that stalls, a connection at a time and as a whole", stall_network, calm_network,
              prepare=through_a_proxy, hunters=PATIENT),
        Fault("slow", "answers up to 2 s late, while the walsender is ended again and again", slow_fills_and_cuts, calm_network,
              prepare=fills_through_a_proxy, hunters=PATIENT),
        Fault("schema", "columns come, go and change their types and names; the publication is dropped", change_schema,
              bound=DDL_BOUND, hunters={"waits": False}),
    )
}  # fmt: skip
