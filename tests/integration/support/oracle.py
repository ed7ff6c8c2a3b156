"""Debezium beside Freshet: both publish one database to one broker, each in several modes at once, and every topic of the
two is compared, event by event and byte by byte.

    stand = Stand(db, kafka, debezium, publisher, unique)
    for name, told in MODES.items(): stand.add(name, *told)
    stand.run(SQL / "events.sql")      the script, statement by statement; `-- settle` waits until all have published all so far
    stand.compare()                    fails with each difference

What may differ: the version, the wall clock outside `source`, and the prefix.
"""

import base64
import json
import re

import requests

from .waiting import Hopeless, NotInTime, wait_until

PLACEHOLDER = "__debezium_unavailable_value"

# Of the converter: the schema beside each payload.
SCHEMAS = {
    f"{side}.converter{setting}": value
    for side in ("key", "value")
    for setting, value in (("", "org.apache.kafka.connect.json.JsonConverter"), (".schemas.enable", "true"))
}

CLOUDEVENTS = {
    "value.converter": "io.debezium.converters.CloudEventsConverter",
    "value.converter.serializer.type": "json",
    "value.converter.data.serializer.type": "json",
    "value.converter.json.schemas.enable": "false",
}

# name -> (what Debezium is told, what Freshet is told below `cdc`, to do the same).
MODES = {
    "default": ({}, {}),
    "strings": (
        {
            "decimal.handling.mode": "string",
            "hstore.handling.mode": "map",
            "binary.handling.mode": "hex",
            "interval.handling.mode": "string",
            "time.precision.mode": "adaptive_time_microseconds",
            "provide.transaction.metadata": "true",
            **SCHEMAS,
        },
        {"format": {
            "decimals": "string",
            "hstore": "map",
            "bytes": "hex",
            "intervals": "string",
            "times": "adaptive-microseconds",
            "transaction_metadata": True,
            "encoding": "json-schema",
        }},
    ),
    "doubles": (
        {
            "decimal.handling.mode": "double",
            "binary.handling.mode": "base64-url-safe",
            "time.precision.mode": "connect",
            "tombstones.on.delete": "false",
            **SCHEMAS,
        },
        {"format": {
            "decimals": "double", "bytes": "base64-url-safe", "times": "connect", "tombstones": False,
            "encoding": "json-schema",
        }},
    ),
    "schemas": (SCHEMAS, {"format": {"encoding": "json-schema"}}),
    "cloudevents": (CLOUDEVENTS, {"format": {"encoding": "cloudevents"}}),
}

# Those that the everyday tests leave out.
MORE_MODES = {
    "plainstrings": (
        {
            "decimal.handling.mode": "string",
            "hstore.handling.mode": "map",
            "binary.handling.mode": "hex",
            "interval.handling.mode": "string",
            "time.precision.mode": "adaptive_time_microseconds",
        },
        {"format": {
            "decimals": "string", "hstore": "map", "bytes": "hex", "intervals": "string", "times": "adaptive-microseconds",
        }},
    ),
    "plaindoubles": (
        {"decimal.handling.mode": "double", "time.precision.mode": "connect", "provide.transaction.metadata": "true",
         "skipped.operations": "t"},
        {"format": {"decimals": "double", "times": "connect", "transaction_metadata": True}, "skip_operations": ["t"]},
    ),
    "cloudstrings": (
        {
            **CLOUDEVENTS,
            "decimal.handling.mode": "string",
            "hstore.handling.mode": "map",
            "binary.handling.mode": "hex",
            "interval.handling.mode": "string",
            "provide.transaction.metadata": "true",
            "tombstones.on.delete": "false",
        },
        {"format": {
            "encoding": "cloudevents", "decimals": "string", "hstore": "map", "bytes": "hex", "intervals": "string",
            "transaction_metadata": True, "tombstones": False,
        }},
    ),
    "keys": (
        {"message.key.columns": "public.composite:v;public.full_with_key:v,id;public.i_full:n,t;(.*).k_text:v;public.c_changes:b,id"},
        {"message_key": {"public.composite": "v", "public.full_with_key": ["v", "id"], "*.i_full": ["n", "t"],
                         "*.k_text": "v", "*.c_changes": ["b", "id"]}},
    ),
    "skips": (
        {"skipped.operations": "u,d", **SCHEMAS},
        {"format": {"encoding": "json-schema"}, "skip_operations": ["u", "d"]},
    ),
}


# Masks, hashes, cuts and routes; what Freshet is told holds its prefix.
SHAPED = (
    {
        "column.mask.with.5.chars": r"public\.people\.(phone|code|nn)",
        "column.mask.hash.v2.SHA-256.with.salt.pepper": r"public\.people\.(email|name|nn2)",
        "column.truncate.to.4.chars": r"public\.people\.(notes|short|pic|js)",
        "column.exclude.list": r"public\.people\.gone",
        "transforms": "route",
        "transforms.route.type": "io.debezium.transforms.ByLogicalTableRouter",
        "transforms.route.topic.regex": r"(.*)\.public\.orders_(.*)_(.*)",
        "transforms.route.topic.replacement": "$1.orders.$2",
        **SCHEMAS,
    },
    lambda prefix: {
        "hash_salt": "pepper",
        "shape": {
            "public.people": {
                "mask": {"phone": 5, "code": 5, "nn": 5}, "hash": ["email", "name", "nn2"],
                "truncate": {"notes": 4, "short": 4, "pic": 4, "js": 4}, "exclude_columns": ["gone"],
            },
            "public.orders_*_*": {"topic": f"{prefix}.orders.$1", "key_field": "__dbz__physicalTableIdentifier"},
        },
        "format": {"encoding": "json-schema"},
    },
)


def statements(path):
    """The statements of a script; None stands for `-- settle`."""
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("-- settle"):
            yield None
        if line.startswith("--") or not (line or lines):
            continue
        lines.append(line)
        if line.endswith(";") and "\n".join(lines).count("$$") % 2 == 0:
            yield "\n".join(lines)
            lines = []
    assert not any(line.strip() for line in lines), f"{path}: {lines} without an end"


def normal(data, prefix):
    """The bytes without what may differ."""
    if data is None:
        return None
    text = data.decode()
    text = text.replace(f'"name":"{prefix}"', '"name":"PREFIX"').replace(f'"name":"{prefix}.', '"name":"PREFIX.')
    text = text.replace(f'"__dbz__physicalTableIdentifier":"{prefix}.', '"__dbz__physicalTableIdentifier":"PREFIX.')
    text = re.sub(r'"version":"[^"]*","connector"', '"version":"","connector"', text)
    if '"specversion"' in text:
        text = text.replace(f'"iodebeziumname":"{prefix}"', '"iodebeziumname":""')
        text = re.sub(r'"iodebeziumversion":"[^"]*"', '"iodebeziumversion":""', text)
        text = text.replace(f"name:{prefix};", "").replace(f"/postgresql/{prefix}", "")
    text = re.sub(r'("op":"[curdt]"),"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+(\}+)$', r"\1\2", text)
    # A Java object's address stands for the collection of logical messages.
    text = re.sub(r'\{"data_collection":"io.debezium[^}]*\},?', "", text).replace("},]", "}]")
    return re.sub(r'\{"op":"m","ts_ms":\d+', '{"op":"m"', text)


def shape(records, prefix):
    """topic (without prefix) and partition -> [(key, value, headers)]; records without a key, which lie anywhere, sorted."""
    shaped = {}
    for record in records:
        topic = record.topic.removeprefix(prefix)
        one = (normal(record.raw_key, prefix), normal(record.raw_value, prefix), record.headers)
        # With its schema a key holds the prefix, which is each one's own, and goes to a partition by that.
        placed = record.key is not None and "schema" not in record.key
        shaped.setdefault((topic, str(record.partition) if placed else "any"), []).append(one)
    for (_, partition), events in shaped.items():
        if partition == "any":
            events.sort(key=lambda event: (event[0] or "", event[1] or ""))
    return shaped


def leaves(value, path=""):
    if isinstance(value, list) and value and all(isinstance(part, dict) and "field" in part for part in value):
        value = {part["field"]: part for part in value}  # fields of a schema
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}")
    else:
        yield path, value


def is_placeholder(value):
    """Does it stand for an unchanged value that is not in the stream, in whatever form?"""
    bare = PLACEHOLDER.encode()
    text = json.dumps(value)
    return value == list(bare) or PLACEHOLDER in text or base64.b64encode(bare).decode() in text


def parted_leaves(mine, their):
    """{path: (ours, theirs)} of the two values' JSON. Where Debezium loses the placeholder of an unchanged value, and writes null,
    ours is there: so of int2[], bytea in base64-url-safe."""
    ours, theirs = (dict(leaves(json.loads(one[1]))) for one in (mine, their))
    return {
        path: (ours.get(path), theirs.get(path)) for path in sorted({*ours, *theirs})
        if ours.get(path, "-") != theirs.get(path, "-") and not (theirs.get(path, "-") is None and is_placeholder(ours.get(path)))
    }


def around_difference(mine, their):
    """The two where they part, short enough to read; None: nowhere but in lost placeholders."""
    if (mine[0], mine[2]) == (their[0], their[2]) and mine[1] and their[1]:
        parted = parted_leaves(mine, their)
        lost = any(is_placeholder(value) for _, value in leaves(json.loads(mine[1])))
        if lost and not parted:
            return None
        if parted:
            return "\n    ".join(f"{path}: ours {str(a)[:60]}, theirs {str(b)[:60]}" for path, (a, b) in parted.items())
    mine, their = str(mine), str(their)
    at = next((i for i, (a, b) in enumerate(zip(mine, their)) if a != b), min(len(mine), len(their)))
    return f"ours ...{mine[max(0, at - 60):at + 60]}...\n    theirs ...{their[max(0, at - 60):at + 60]}..."


def differences(ours, theirs):
    """A text each."""
    found = []
    for place in sorted({*ours, *theirs}):
        mine, their = ours.get(place, []), theirs.get(place, [])
        if len(mine) != len(their):
            found.append(f"{place}: {len(mine)} records, Debezium {len(their)}")
        for i, (one, other) in enumerate(zip(mine, their)):
            around = one != other and around_difference(one, other)
            if around:
                found.append(f"{place}, record {i}, key {(other[0] or '')[:200]}:\n    {around}")
    return found


def _forgive_times_in_headers(shaped):
    """Debezium's header of a moved row has dates that are no JSON, as {"k":2026-11-21}, in times: connect; ours is the key."""
    for place, events in shaped.items():
        if re.fullmatch(r"[.]public[.]k_(date|time|timestamp)", place[0]):
            events[:] = sorted(((key or "", value or "", {}) for key, value, _ in events), key=str)


def _forget_what_has_no_form(shaped):
    """The CloudEvents converter has none for logical messages and for transactions, and makes all their values null."""
    for place in [place for place in shaped if place[0] in (".message", ".transaction")]:
        del shaped[place]


def _forgive(told, shaped):
    told = told.get("format", {})
    if told.get("times") == "connect":
        _forgive_times_in_headers(shaped)
    if told.get("encoding") == "cloudevents":
        _forget_what_has_no_form(shaped)


class Stand:
    """A database, and beside each other the two that publish it.

    `debezium` and `publisher` are the fixtures; one JVM runs all of Debezium's connectors, which are told what the first
    one is told and more: so that is the mode "default".
    """

    def __init__(self, db, kafka, debezium, publisher, unique, publication=None):
        self.db, self.kafka, self.unique = db, kafka, unique
        self._debezium, self._publisher = debezium, publisher
        self._publication = publication  # one for all, that is there; else each makes its own
        self._oracle = None
        self._modes = {}
        self._marks = 0

    def add(self, name, theirs_told, ours_told):
        theirs, ours = f"{self.unique}d{name}", f"{self.unique}f{name}"
        if callable(ours_told):
            ours_told = ours_told(ours)
        if self._publication:
            theirs_told = {"publication.name": self._publication, **theirs_told}
            ours_told = {"publication": self._publication, **ours_told}
        if self._oracle:
            self.add_connector(theirs, {"snapshot.mode": "no_data", **theirs_told})
        else:
            self._oracle = self._debezium(self.db, theirs, **{"snapshot.mode": "no_data", **theirs_told})
        self._publisher(self.db, ours, **ours_told)
        self._modes[name] = (ours_told, theirs, ours)

    def prefixes(self, name):
        """Of the mode: Debezium's, Freshet's."""
        return self._modes[name][1:]

    def add_connector(self, prefix, settings, wait=True):
        """Another connector in the oracle's own process: a JVM takes longer to start than all the rest."""
        url = f"http://127.0.0.1:{self._oracle.rest}/connectors"
        config = requests.get(f"{url}/oracle/config", timeout=10).json()
        config.update({"name": prefix, "topic.prefix": prefix, "slot.name": f"{prefix}_slot",
                       "publication.name": f"{prefix}_publication", **settings})
        requests.put(f"{url}/{prefix}/config", json=config, timeout=30).raise_for_status()
        if not wait:
            return

        def streams():
            return any(s["slot_name"] == f"{prefix}_slot" and s["active"] for s in self.db.slots())

        wait_until(streams, 90, f"{prefix} streams", every=0.1)

    def run(self, path):
        with self.db.connect(autocommit=True) as connection:
            for statement in statements(path):
                if statement is None:
                    self.settle()
                else:
                    connection.execute(statement)

    def settle(self):
        """Until both, in every mode, have published all so far: what they read of the catalog is then of this moment."""
        self._marks += 1
        self.db.execute("INSERT INTO marker VALUES (%s)", [self._marks])
        for _, theirs, ours in self._modes.values():
            for prefix in (theirs, ours):
                wait_until(lambda: self._has_passed(prefix), 300, f"mark {self._marks} of {prefix}", every=0.1)

    def _has_passed(self, prefix):
        if has_mark(self.kafka, prefix, self._marks):
            return True
        if self.has_failed(prefix):
            raise Hopeless(f"{prefix}: {self.has_failed(prefix)}")

    def has_failed(self, prefix):
        """Why a connector of the oracle ended; None: it has not, or is none of its connectors."""
        name = "oracle" if prefix == self._oracle.prefix else prefix
        answer = requests.get(f"http://127.0.0.1:{self._oracle.rest}/connectors/{name}/status", timeout=10)
        failed = [task["trace"] for task in answer.json().get("tasks", []) if task["state"] == "FAILED"]
        return failed[0] if failed else None

    def compare(self):
        """Fails with every difference there is."""
        self.settle()
        found = []
        for name, (told, theirs, ours) in self._modes.items():
            theirs, ours = self._read_both(theirs, ours)
            _forgive(told, theirs)
            _forgive(told, ours)
            found += [f"{name}: {difference}" for difference in differences(ours, theirs)]
        assert not found, f"{len(found)} differences\n" + "\n".join(found)


    def _read_both(self, theirs, ours):
        """What stands behind the last mark, the END of its transaction say, may still be on its way."""
        read = []

        def as_many():
            read[:] = [(prefix, read_topics(self.kafka, prefix)) for prefix in (theirs, ours)]
            return len(read[0][1]) == len(read[1][1])

        try:
            wait_until(as_many, 5, every=0.2)
        except NotInTime:
            pass  # the comparison says where
        return [shape(records, prefix) for prefix, records in read]


def read_topics(kafka, prefix):
    return kafka.read(*(t for t in kafka.topics(f"{prefix}.") if t != f"{prefix}.positions"))


def has_mark(kafka, prefix, mark):
    return any(r.key.get("payload", r.key) == {"id": mark} for r in kafka.read(f"{prefix}.public.marker"))


def same_moment(records):
    """The two snapshots are of two moments: position, transaction and time differ, for one reason."""
    for place, events in records.items():
        records[place] = [
            (key, re.sub(r'"(ts_ms|ts_us|ts_ns|txId|lsn)":\d+', r'"\1":0', re.sub(r'\\"\d+\\"', "", value)), headers)
            for key, value, headers in events
        ]
    return records


def make_publisher(freshet, kafka):
    """publisher(db, prefix, format={...}): a Freshet that streams, and publishes all tables of db."""

    def make(db, prefix, **cdc):
        f = freshet(
            db,
            {"roles": ["cdc"], "cdc": {
                "slot": f"{prefix}_slot", "publication": f"{prefix}_pub", "snapshot": "never", "tables": ["*.*"], **cdc,
            }},
            kafka=kafka,
            prefix=prefix,
        )
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", what="the publisher streams")
        return f

    return make
