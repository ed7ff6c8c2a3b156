"""Records of <prefix>.invalidations, as base/invalidation.h describes them, read by other hands than Freshet's."""

from dataclasses import dataclass, field

KINDS = {0: None, 1: "unchanged"}


@dataclass
class Change:
    operation: str
    table: str
    old: dict | None
    new: dict | None


@dataclass
class Invalidation:
    kind: str
    system: int
    timeline: int
    server_start: int
    database: str
    publication: str
    since: int
    end: int = 0
    interval_ms: int = 0
    xid: int = 0
    commit: int = 0
    part: int = 0
    last: bool = True
    relations: list = field(default_factory=list)
    changes: list = field(default_factory=list)


class Input:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        assert self.at + n <= len(self.data), "the record ends early"
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self):
        return self.bytes(1)[0]

    def number(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self):
        return self.bytes(self.number()).decode()

    def relation(self):
        relation = {"oid": self.number(), "fingerprint": self.number(), "schema": self.text(), "name": self.text(),
                    "identity": chr(self.byte()), "columns": []}
        for _ in range(self.number()):
            relation["columns"].append(self.text())
            self.number(), self.number(), self.byte()
        return relation

    def row(self, columns):
        row = {}
        for column in columns:
            head = self.number()
            row[column] = self.bytes(head >> 2).decode() if head & 3 >= 2 else KINDS[head & 3]
        return row

    def change(self, relations):
        operation = chr(self.byte())
        relation = relations[self.number()]
        rows = self.byte()
        old = self.row(relation["columns"]) if rows & 1 else None
        new = self.row(relation["columns"]) if rows & 2 else None
        return Change(operation, f"{relation['schema']}.{relation['name']}", old, new)


def decode(data):
    data = Input(data)
    assert data.bytes(3) == b"FI\x01"
    kind = chr(data.byte())
    record = Invalidation(kind, data.number(), data.number(), data.number(), data.text(), data.text(), data.number())
    if kind == "H":
        record.end, record.interval_ms = data.number(), data.number()
    else:
        assert kind == "T"
        record.xid, record.commit, record.end = data.number(), data.number(), data.number()
        data.number()
        record.part, record.last = data.number(), bool(data.byte())
        record.relations = [data.relation() for _ in range(data.number())]
        record.changes = [data.change(record.relations) for _ in range(data.number())]
    assert data.at == len(data.data), "the record goes on"
    return record
