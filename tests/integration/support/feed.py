"""The driver `feedprint`: a feed into a sink that prints one line a call (tests/integration/drivers/feedprint.c)."""

import os
import re
import subprocess
import threading

from .process import ROOT
from .waiting import Hopeless, wait_until

CHANGES = ("insert", "update", "delete", "truncate", "message", "read")


class Feed:
    """feed = Feed(db, slot="s", snapshot=1)

    feed.lines                     all that was printed so far
    feed.wait_for(r"commit .*")    the match in the first such line from `since` on
    feed.changes(db)               lines of the changes since the last call, up to now
    feed.send("hold")              a command of the driver
    feed.status()                  {"state": "streaming", "confirmed": "0/1A2B3C4", ...}
    feed.stop() -> exit code, feed.kill9(), feed.log_text()
    """

    def __init__(self, database, url=None, folder=None, **options):
        options.setdefault("messages", 1)
        self.slot = options.get("slot", "feedprint")
        self.lines = []
        self._read = 0
        self._marks = 0
        self._ended = threading.Event()
        build = os.path.dirname(os.environ.get("FRESHET_BINARY", ROOT / "build" / "freshet"))
        words = [f"{name}={value}" for name, value in options.items() if not isinstance(value, list)]
        words += [f"{name}={value}" for name, values in options.items() if isinstance(values, list) for value in values]
        self._log = open(folder / f"{self.slot}.log", "a+")
        self._process = subprocess.Popen(
            [os.path.join(build, "drivers", "feedprint"), url or database.url, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            errors="replace",
        )
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    @property
    def pid(self):
        return self._process.pid

    def _collect(self):
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
        self._ended.set()

    def send(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def log_text(self):
        self._log.seek(0)
        return self._log.read()

    def find(self, pattern, since=0):
        for line in self.lines[since:]:
            match = re.fullmatch(pattern, line)
            if match:
                return match
        return None

    def wait_for(self, pattern, since=0, timeout=15):
        def found():
            ended = self._ended.is_set()
            match = self.find(pattern, since)
            if not match and ended:
                raise Hopeless(f"feedprint ended without {pattern!r}:\n{self.log_text()[-4000:]}")
            return match

        return wait_until(found, timeout, f"a line {pattern!r}")

    def status(self):
        since = len(self.lines)
        self.send("status")
        return dict(word.split("=", 1) for word in self.wait_for("status .*", since)[0].split(" ", 8)[1:])

    def wait_state(self, state, cause="", timeout=15):
        def there():
            now = self.status()
            return now if now["state"] == state and cause in now["cause"] else None

        return wait_until(there, timeout, f"the feed is {state}")

    def changes(self, database):
        """A message into the stream marks where "now" is."""
        self._marks += 1
        mark = f"mark {os.getpid()} {self._marks}"
        database.execute("SELECT pg_logical_emit_message(true, 'test', %s)", [mark])
        self.wait_for(f"message .* content={mark}")
        end = next(i for i, line in enumerate(self.lines) if line.endswith(f"content={mark}"))
        taken, open_transaction = [], []
        for line in self.lines[self._read : end]:
            word = line.split(" ", 1)[0]
            if word == "commit":
                taken += open_transaction
            if word in ("begin", "commit", "ended"):
                open_transaction = []  # one that a session's end cut off never came
            elif word in CHANGES and "prefix=test content=mark" not in line:
                open_transaction.append(line)
        self._read = end + 1
        return taken + open_transaction

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait_ended(self, timeout=30):
        code = self._process.wait(timeout)
        self._thread.join(5)
        return code

    def stop(self):
        if self._process.poll() is None:
            self.send("stop")
        return self.wait_ended()

    def kill9(self):
        self._process.kill()
        self.wait_ended()

    def close(self):
        """Gently, for what a sanitizer has to say; 1 is a feed that failed."""
        if self._process.poll() is None:
            self.send("go")
            self.send("confirm")  # a stop waits for it
        code = self.stop()
        log = self.log_text()
        self._log.close()
        assert code in (0, 1, -9), f"feedprint ended with {code}:\n{log[-4000:]}"
