"""OpenSearch, one node without its security plugin: 2.x, or with FRESHET_TEST_OPENSEARCH=3 the 3.x, which wants Java 21."""

import os
import re
import shutil
from pathlib import Path

import requests

from .process import Process, free_port
from .waiting import wait_until


def data_folder(workshop):
    """Java finds no mount point for a file below the root of a chroot, and OpenSearch asks for one: there it is /dev/shm."""
    mounts = {line.split()[1] for line in open("/proc/self/mounts")}
    return workshop.make_folder("opensearch-data", unprivileged=True, below=None if "/" in mounts else Path("/dev/shm"))


def java_home(least):
    """Of the java on the path, or else of one below /usr/lib/jvm that is new enough."""
    homes = [Path(os.path.realpath(shutil.which("java"))).parents[1], *sorted(Path("/usr/lib/jvm").glob("*"))]
    for home in homes:
        release = home / "release"
        version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.exists() else None
        if version and int(version[1]) >= least and (home / "bin/java").exists():
            return home
    raise RuntimeError(f"OpenSearch wants Java {least} or newer")


class OpenSearch:
    """One node.

    opensearch.url
    opensearch.call("GET", "/users/_mapping", json=None) -> decoded answer (asserts 2xx unless ok=False)
    opensearch.documents("users") -> {_id: _source}, after a refresh; {} where there is no such index
    opensearch.names("users") -> {"users-0"}: the indexes of that name, or of the alias or pattern
    opensearch.describe("users") -> what the one index of that name or alias is: mappings, settings, aliases
    opensearch.delete_index("users"), opensearch.stop(), opensearch.start()
    """

    def __init__(self, workshop, java="-Xms512m -Xmx512m -XX:TieredStopAtLevel=1"):
        self._workshop = workshop
        self._java = java
        self._folder = workshop.make_folder("opensearch", unprivileged=True)
        self._data = data_folder(workshop)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._newer = os.environ.get("FRESHET_TEST_OPENSEARCH") == "3"
        home = workshop.part("opensearch3" if self._newer else "opensearch") / "home"
        workshop.run(["cp", "-r", home / "config", self._folder / "config"], unprivileged=True)
        # Its own options write a log of the collector below its home, which is not ours to write to.
        options = self._folder / "config" / "jvm.options"
        options.write_text("".join(line for line in options.open() if "gc.log" not in line and "logs/" not in line))
        self._home = home
        self.process = None
        self.start()

    def start(self):
        settings = {
            "discovery.type": "single-node",
            "http.port": self.port,
            "transport.port": free_port(),
            "path.data": self._data,
            "path.logs": self._folder / "logs",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "action.auto_create_index": "false",
        }
        self.process = Process(
            self._workshop,
            [self._home / "bin" / "opensearch", *(word for k, v in settings.items() for word in ("-E", f"{k}={v}"))],
            self._folder,
            name="opensearch",
            unprivileged=True,
            env={
                "OPENSEARCH_JAVA_HOME": java_home(21 if self._newer else 11),
                "OPENSEARCH_PATH_CONF": self._folder / "config",
                "OPENSEARCH_JAVA_OPTS": self._java,
                "OPENSEARCH_TMPDIR": self._folder,
                "HOME": self._folder,
            },
        )
        wait_until(self._answers, 90, "opensearch answers", every=0.2)

    def _answers(self):
        self.process.assert_running()
        return self.call("GET", "/_cluster/health")["status"] in ("green", "yellow")

    def stop(self):
        self.process.end(0)  # what it keeps goes with it

    def call(self, method, path, ok=True, **options):
        answer = requests.request(method, self.url + path, timeout=30, **options)
        assert not ok or answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def documents(self, index):
        if not requests.head(f"{self.url}/{index}", timeout=30).ok:
            return {}
        self.call("POST", f"/{index}/_refresh")
        found, after = {}, None
        while True:
            query = {"size": 5000, "query": {"match_all": {}}, "sort": [{"_id": "asc"}]}
            if after:
                query["search_after"] = after
            hits = self.call("POST", f"/{index}/_search", json=query)["hits"]["hits"]
            if not hits:
                return found
            found.update((hit["_id"], hit["_source"]) for hit in hits)
            after = hits[-1]["sort"]

    def names(self, name):
        answer = self.call("GET", f"/{name}", ok=False)
        return set() if "error" in answer else set(answer)

    def describe(self, name):
        [description] = self.call("GET", f"/{name}").values()
        return description

    def delete_index(self, name):
        for index in self.names(name):
            self.call("DELETE", f"/{index}", ok=False)
