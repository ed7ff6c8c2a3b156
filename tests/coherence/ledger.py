"""What is known to have been committed, and the judgement of each answer.

A name is what a reader can ask for: a row by its primary key, by a unique key. Its history is a list of events; each has
a number of its own clock, which only grows, and is the row's version, or says that the name leads to no row. One
writer at a time works on a name, so the numbers are in the order of the commits.

    events = ledger.intend({"prey/1": 17, "prey/101": None})     before COMMIT is sent
    ledger.told(events)                                          COMMIT has returned
    ledger.undone(events)                                        it was rolled back
    since = ledger.floor("prey/1", before)                       the newest event told by that time
    wrong = ledger.judge("prey/1", version, since)               None, or what is wrong
"""

import itertools
import threading
import time
from dataclasses import dataclass

KEPT = 400  # events a name: a read that is judged by an older one would be a violation long since


@dataclass(eq=False)
class Event:
    name: str
    number: int
    gone: bool
    told_at: float = None
    undone: bool = False


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._events = {}

    def next(self):
        return next(self._numbers)

    def names(self, prefix=""):
        return [name for name in self._events if name.startswith(prefix)]

    def intend(self, versions):
        """{name: its row's version, or None}."""
        events = []
        with self._lock:
            for name, version in versions.items():
                event = Event(name, self.next() if version is None else version, version is None)
                known = self._events.setdefault(name, [])
                known.append(event)
                del known[:-KEPT]
                events.append(event)
        return events

    def told(self, events):
        now = time.monotonic()
        for event in events:
            event.told_at = now

    def undone(self, events):
        for event in events:
            event.undone = True

    def floor(self, name, before):
        newest = None
        with self._lock:
            for event in self._events.get(name, ()):
                if event.told_at is not None and event.told_at <= before and (not newest or event.number > newest.number):
                    newest = event
        return newest

    def judge(self, name, version, floor):
        """The answer was in hand when this is called, so each event that it may stem from is known by now."""
        if floor is None:
            return None
        if version is None:
            with self._lock:
                if any(e.gone and not e.undone and e.number >= floor.number for e in self._events[name]):
                    return None
            return f"no row, though there was version {floor.number}"
        if version >= floor.number:
            return None
        return f"version {version}, though {'there was no row any more at' if floor.gone else 'it was'} {floor.number}"
