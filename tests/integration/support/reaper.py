"""Ends servers and removes temporary folders when the test process is gone, however it went.

A small process of its own session holds the reading end of a pipe. Each server and folder is written to it; when the
pipe closes (a normal end, Ctrl-C, kill -9 alike) it ends what was not taken off the list.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import time


class Reaper:
    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        atexit.register(self.close)

    def _tell(self, *words):
        self._process.stdin.write("\t".join(str(word) for word in words) + "\n")
        self._process.stdin.flush()

    def process(self, pid, gently=signal.SIGTERM):
        self._tell("process", pid, int(gently))

    def ended(self, pid):
        self._tell("ended", pid)

    def folder(self, path):
        self._tell("folder", path)

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def kill_group(pid, number):
    try:
        os.killpg(pid, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes, folders = {}, []
    for line in sys.stdin:
        kind, value, *rest = line.rstrip("\n").split("\t")
        if kind == "process":
            processes[int(value)] = int(rest[0])
        elif kind == "ended":
            processes.pop(int(value), None)
        elif kind == "folder":
            folders.append(value)

    alive = [pid for pid, gently in processes.items() if kill_group(pid, gently)]
    deadline = time.monotonic() + 5
    while alive and time.monotonic() < deadline:
        alive = [pid for pid in alive if kill_group(pid, 0)]
        time.sleep(0.05)
    for pid in alive:
        kill_group(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
