"""Server processes of the tests: unprivileged, logging to a file, ended with the session."""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from .reaper import Reaper
from .waiting import Hopeless, wait_until

ROOT = Path(__file__).resolve().parents[3]
PARTS = ROOT / "build" / "parts"


def free_port():
    """A port that nobody listens on, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randint(15000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def unprivileged_user():
    """PostgreSQL and OpenSearch refuse to run as root. None: we are somebody else already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user to run servers as")


def environment(more=None):
    """The tests' own variables are no settings of Freshet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    return {**kept, **{name: str(value) for name, value in (more or {}).items()}}


def open_to_all(path):
    """Can any user read below `path`?"""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


class Workshop:
    """Temporary folders and processes of one test session."""

    def __init__(self):
        self.reaper = Reaper()
        self.folder = Path(tempfile.mkdtemp(prefix="freshet-test-"))
        self.folder.chmod(0o755)
        self.reaper.folder(str(self.folder))
        self.user = unprivileged_user()
        self._n = 0

    def make_folder(self, name, unprivileged=False, below=None):
        self._n += 1
        if below:
            folder = Path(tempfile.mkdtemp(prefix=f"freshet-test-{name}-", dir=below))
            self.reaper.folder(str(folder))
        else:
            folder = self.folder / f"{name}-{self._n}"
            folder.mkdir()
        if unprivileged and self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        return folder

    def part(self, name):
        """A fetched server's folder, where the unprivileged user can read it."""
        source = PARTS / name
        if not (source / ".complete").exists():
            subprocess.run([ROOT / "tests/maven/fetch", name], check=True)
        if not self.user or open_to_all(source):
            return source
        copy = self.folder / f"part-{name}"
        if not copy.exists():
            shutil.copytree(source, copy, symlinks=True)
        return copy

    def as_user(self, unprivileged):
        if not unprivileged or not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def run(self, command, unprivileged=False, **options):
        """A command that ends by itself; its output is the failure's message."""
        options.setdefault("cwd", self.folder)
        done = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self.as_user(unprivileged),
            **options,
        )
        assert done.returncode == 0, f"{command[0]}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.reaper.close()


class Process:
    """One server process. `log` is its output's file (standard error, and standard output unless `stdout` is a path)."""

    def __init__(self, workshop, command, folder, *, name, env=None, unprivileged=False, stdout=None, gently=signal.SIGTERM):
        self._workshop = workshop
        self.name = name
        self.log = Path(folder) / f"{name}.log"
        self._gently = gently
        with open(self.log, "ab") as log, open(stdout or os.devnull, "ab") as out:
            self._popen = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out if stdout else log,
                stderr=log,
                start_new_session=True,
                **workshop.as_user(unprivileged),
            )
        workshop.reaper.process(self.pid, gently)

    @property
    def pid(self):
        return self._popen.pid

    @property
    def exit_code(self):
        """None while it runs."""
        return self._popen.poll()

    def log_text(self):
        return self.log.read_text(errors="replace")

    def wait_listening(self, port, timeout=60):
        def listening():
            self.assert_running()
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        wait_until(listening, timeout, f"{self.name} listens on {port}")

    def assert_running(self):
        if self.exit_code is not None:
            raise Hopeless(f"{self.name} ended with {self.exit_code}:\n{self.log_text()[-4000:]}")

    def signal(self, number):
        self._popen.send_signal(number)

    def wait_ended(self, timeout=15):
        wait_until(lambda: self.exit_code is not None, timeout, f"{self.name} ends")
        self._workshop.reaper.ended(self.pid)
        return self.exit_code

    def kill9(self):
        if self.exit_code is None:
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait_ended()

    def end(self, timeout=15):
        """Gently, then by force."""
        if self.exit_code is None:
            self.signal(self._gently)
            try:
                self.wait_ended(timeout)
            except AssertionError:
                self.kill9()
        self._workshop.reaper.ended(self.pid)
