"""Debezium with an Avro converter beside Freshet: schemas in one registry, and records by them, are compared.

    stand = AvroStand(db, kafka, connect, registry, freshet, unique)
    stand.add("default");  stand.run(SQL / "events.sql");  stand.compare()

What may differ: the version, the wall clock outside `source`, the prefix, and what is said to be on purpose.
"""

import json
import re

from .connect import avro
from .oracle import make_publisher, statements
from .registry import decode, parse
from .waiting import wait_until

# What Debezium is told, and what Freshet is told, to do the same.
MODES = {
    "default": ({"provide.transaction.metadata": "true"}, {"transaction_metadata": True}),
    "others": (
        {"decimal.handling.mode": "string", "hstore.handling.mode": "map", "binary.handling.mode": "hex",
         "interval.handling.mode": "string", "time.precision.mode": "connect"},
        {"decimals": "string", "hstore": "map", "bytes": "hex", "intervals": "string", "times": "connect"},
    ),
}
ADJUSTED = {"schema.name.adjustment.mode": "avro", "field.name.adjustment.mode": "avro"}
UNCHANGED = "__debezium_unavailable_value"


def is_unchanged_array(value):
    uuid = "b68a35a7-17ad-35b3-af2a-ae46edb4545a"
    return isinstance(value, list) and (value == list(UNCHANGED.encode()) or value == [uuid] or UNCHANGED in str(value))


def around_difference(mine, their):
    """The two texts where they part, short enough to read."""
    mine, their = str(mine), str(their)
    at = next((i for i, (a, b) in enumerate(zip(mine, their)) if a != b), min(len(mine), len(their)))
    return f"ours ...{mine[max(0, at - 60):at + 60]}...\n    theirs ...{their[max(0, at - 60):at + 60]}..."


def normal(record):
    """Without the version and the wall clock."""
    if not record:
        return record
    record = {k: v for k, v in record.items() if not (k.startswith("ts_") and "source" in record)}
    if "source" in record:
        record["source"] = {**record["source"], "version": "", "name": ""}
    # Debezium has null for unchanged arrays of some types (smallint[], citext[]).
    for row in (record.get("before") or {}, record.get("after") or {}):
        row.update({column: None for column, value in row.items() if is_unchanged_array(value)})
    # A Java object's address stands for the collection of logical messages.
    if record.get("data_collections"):
        record["data_collections"] = [c for c in record["data_collections"] if "@" not in c["data_collection"]]
    return record


def without_nan(schema):
    """On purpose: NaN, which Avro's readers refuse as a default, is none."""
    if isinstance(schema, dict):
        return {k: without_nan(v) for k, v in schema.items() if not (k.endswith("default") and v in ("NaN", "Infinity"))}
    return [without_nan(item) for item in schema] if isinstance(schema, list) else schema


def without_impossible_scale(schema):
    """On purpose: of numeric(3,5), whose scale is beyond its precision, Avro has no decimal."""
    if isinstance(schema, dict):
        impossible = schema.get("type") == "bytes" and schema.get("scale", 0) > schema.get("precision", 0)
        dropped = ("scale", "precision", "logicalType") if impossible else ()
        return {k: without_impossible_scale(v) for k, v in schema.items() if k not in dropped}
    return [without_impossible_scale(item) for item in schema] if isinstance(schema, list) else schema


def without_null_in_enums(schema):
    """On purpose: an enum's element may be null."""
    if isinstance(schema, dict):
        if schema.get("type") == "array" and isinstance(schema["items"], list):
            item = schema["items"][-1]
            if isinstance(item, dict) and item.get("connect.name") == "io.debezium.data.Enum":
                schema = {**schema, "items": item}
        return {k: without_null_in_enums(v) for k, v in schema.items()}
    return [without_null_in_enums(item) for item in schema] if isinstance(schema, list) else schema


class AvroStand:
    """As oracle.Stand. `publication`: one for all, that is there; else each makes its own."""

    def __init__(self, db, kafka, connect, registry, freshet, unique, publication=None):
        self.db, self.kafka, self.connect, self.registry, self.unique = db, kafka, connect, registry, unique
        self._publisher = make_publisher(freshet, kafka)
        self._their_publication = {"publication.name": publication} if publication else {}
        self._our_publication = {"publication": publication} if publication else {}
        self._modes = []
        self._marks = 0

    def add(self, mode):
        theirs_told, ours_told = MODES[mode]
        self.connect.source(self.db, f"{self.unique}d{mode}",
                            **{**avro(self.registry), **ADJUSTED, **self._their_publication, **theirs_told})
        self._publisher(self.db, f"{self.unique}f{mode}", format={"encoding": "avro", **ours_told},
                        schema_registry={"url": self.registry.url}, **self._our_publication)
        self._modes.append((mode, f"{self.unique}f{mode}", f"{self.unique}d{mode}"))

    def run(self, path):
        with self.db.connect(autocommit=True) as connection:
            for statement in statements(path):
                if statement is None:
                    self.settle()
                else:
                    connection.execute(statement)

    def settle(self):
        self._marks += 1
        self.db.execute("INSERT INTO marker VALUES (%s)", [self._marks])
        for _, *prefixes in self._modes:
            for prefix in prefixes:
                wait_until(lambda: len(self.kafka.read(f"{prefix}.public.marker")) >= self._marks, 90, f"mark {self._marks} of {prefix}",
                           every=0.1)

    def _read(self, prefix):
        """topic (without prefix) -> [(key, value, headers)], in each key's order; and (topic, side) -> [schema]."""
        events, schemas, readers = {}, {}, {}

        def read(place, data):
            if data is None:
                return None
            id = int.from_bytes(data[1:5], "big")
            if id not in readers:
                schema = without_nan(self.registry.schema(id))
                readers[id] = parse(schema)
                schemas.setdefault(place, []).append(json.loads(json.dumps(schema).replace(prefix, "PREFIX")))
            return decode(data, readers.get)

        for topic in self.kafka.topics(f"{prefix}."):
            name = topic.removeprefix(prefix)
            if name == ".positions":
                continue
            for record in self.kafka.read(topic):
                key, value = read((name, "key"), record.raw_key), read((name, "value"), record.raw_value)
                # Debezium's header of a moved row has dates that are no JSON, in times: connect (oracle.py says the same).
                headers = {} if re.fullmatch(r"[.]public[.]k_(date|time|timestamp)", name) else record.headers
                # As text: NaN is not equal to itself.
                events.setdefault(name, []).append((repr(key), repr(normal(value)), headers))
        for name, those in events.items():
            # Those without a key lie in any partition, and so in any order; so do a key's that got another schema, and its id.
            moves = len(schemas.get((name, "key"), [])) > 1
            those.sort(key=lambda event: (event[0], event[1] if moves or event[0] == "None" else ""))
        for those in schemas.values():
            those.sort(key=json.dumps)
        return events, schemas

    def _read_both(self, ours, theirs):
        """What stands behind the last mark, the END of its transaction say, may still be on its way."""
        read = []

        def as_many():
            read[:] = [self._read(ours), self._read(theirs)]
            return len({sum(map(len, events.values())) for events, _ in read}) == 1

        try:
            wait_until(as_many, 5, every=0.2)
        except AssertionError:
            pass  # the comparison says where
        return read

    def compare(self):
        self.settle()
        for mode, *prefixes in self._modes:
            (ours, our_schemas), (theirs, their_schemas) = self._read_both(*prefixes)
            self.connect.remove(prefixes[1])
            differences = []
            for place in sorted(set(their_schemas) | set(our_schemas)):
                mine, their = without_null_in_enums(our_schemas.get(place)), without_impossible_scale(their_schemas.get(place))
                if mine != their:
                    differences.append(f"schema {place}: {around_difference(json.dumps(mine), json.dumps(their))}")
            for topic in sorted(set(theirs) | set(ours)):
                mine, their = ours.get(topic, []), theirs.get(topic, [])
                if len(mine) != len(their):
                    differences.append(f"{topic}: {len(mine)} records, Debezium {len(their)}")
                differences += [f"{topic} {b[0]}: {around_difference(a, b)}" for a, b in zip(mine, their) if a != b]
            assert not differences, f"{mode}:\n" + "\n".join(differences)
