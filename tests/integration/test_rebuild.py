"""`freshet rebuild`: a new index takes the old one's place while readers search and writers write."""

import subprocess
import threading
import time

import pytest
import requests

from support.freshet import binary
from support.process import environment
from support.writers import USERS, Writers, fill
from test_opensearch import connect  # noqa: F401: a fixture

ROWS = 1000


class Searchers:
    """Clients that search all the time: each answer must be whole."""

    def __init__(self, opensearch, index, least, n=2):
        self.url, self.least, self.wrong, self.searches = f"{opensearch.url}/{index}/_search", least, [], 0
        self.ended = False
        self.threads = [threading.Thread(target=self.run) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def run(self):
        session = requests.Session()
        while not self.ended:
            query = {"size": 1, "track_total_hits": True, "query": {"prefix": {"name.keyword": "name "}}}
            answer = session.post(self.url, json=query, timeout=30)
            body = answer.json()
            self.searches += 1
            if not answer.ok or body["_shards"]["failed"] or body["hits"]["total"]["value"] < self.least:
                self.wrong.append((answer.status_code, str(body)[:500]))

    def end(self):
        self.ended = True
        for thread in self.threads:
            thread.join()
        assert self.searches > 20
        assert not self.wrong, f"{len(self.wrong)} of {self.searches} searches: {self.wrong[:3]}"


def rebuild(search, wait=True):
    command = [str(binary()), "rebuild", search.name, "-c", str(search.freshet.config_path)]
    process = subprocess.Popen(command, env=environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not wait:
        return process
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err + search.freshet.log_text()[-4000:]
    return out


def concrete(opensearch, name):
    return set(opensearch.call("GET", f"/{name}"))


def slots(db):
    return [slot["slot_name"] for slot in db.slots() if slot["slot_name"].endswith("_rebuild")]


@pytest.fixture
def search(db, connect, opensearch):
    db.execute(USERS)
    fill(db, ROWS)
    search = connect(batch_interval="30ms", rebuild_grace="500ms")
    search.wait_equal()
    yield search
    opensearch.delete_index(f"{search.index}-*")


def test_searches_are_whole_while_indexes_succeed_one_another(search, db, opensearch, tmp_path, wait_until):
    alias = f"{search.index}-people"
    opensearch.call("POST", "/_aliases", json={"actions": [
        {"add": {"index": f"{search.index}-0", "alias": alias, "filter": {"range": {"age": {"lt": 45}}}}}]})
    writers = Writers(db, keys=100, rest=0.01)
    searchers = Searchers(opensearch, search.index, ROWS - 100)
    assert "rebuilt" in rebuild(search)
    assert concrete(opensearch, search.index) == {f"{search.index}-1"}
    assert "rebuilt" in rebuild(search)
    assert concrete(opensearch, search.index) == {f"{search.index}-2"}
    searchers.end()
    writers.end()
    search.wait_equal()
    assert concrete(opensearch, f"{search.index}*") == {f"{search.index}-2"}, "older ones are gone"
    aliases = opensearch.call("GET", f"/{search.index}-2")[f"{search.index}-2"]["aliases"]
    assert set(aliases) == {search.index, f"freshet-{search.index}", alias}
    assert aliases[alias] == {"filter": {"range": {"age": {"lt": 45}}}}
    assert slots(db) == [] and not list(search.state.glob("*rebuil*"))
    assert search.status()["rebuild"]["state"] == "done"
    assert search.metric("loads_total") == 1, "the connector itself loads nothing again"
    db.execute("UPDATE users SET name = 'after' WHERE id = 1")
    search.wait_equal()
    search.freshet.kill9()
    db.execute("DELETE FROM users WHERE id = 2")
    search.freshet.start(wait=False)
    search.wait_equal()
    assert search.metric("loads_total") == 0, "nor after a restart"


def test_a_rebuild_brings_a_new_mapping(search, db, opensearch, tmp_path, wait_until):
    file = tmp_path / "users.json"
    file.write_text('{"mappings": {"properties": {"name": {"type": "keyword"}}}}')
    search.freshet.stop()
    search.freshet.config["connectors"][0]["mapping"] = str(file)
    search.freshet.write_config()
    search.freshet.start(wait=False)
    search.wait_equal()
    search.freshet.wait_ready()
    rebuild(search)
    index = f"{search.index}-1"
    assert opensearch.call("GET", f"/{index}")[index]["mappings"]["properties"]["name"]["type"] == "keyword"
    search.wait_equal()


def test_a_kill_in_the_midst_leaves_one_that_serves_and_it_is_done_in_the_end(search, db, opensearch, wait_until):
    searchers = Searchers(opensearch, search.index, ROWS)
    moments = [("loading", "following"), ("following", "switching"), ("switching",)]
    for n, states in enumerate(moments, 1):
        command = rebuild(search, wait=False)
        wait_until(lambda: (search.status().get("rebuild") or {}).get("state") in (*states, "finishing"), 30, every=0.005)
        search.freshet.kill9()
        db.execute("UPDATE users SET name = 'name ' || id || ' changed ' || %s", [n])
        search.freshet.start(wait=False)
        search.wait_equal(60)
        wait_until(lambda: not list(search.state.glob("*.rebuilding")) and slots(db) == [], 60, f"the rebuild is over: {states}")
        command.communicate(timeout=120)
        search.wait_equal(60)
        wait_until(lambda: concrete(opensearch, f"{search.index}*") == {f"{search.index}-{n}"}, 30)
    searchers.end()


def test_a_rebuild_that_is_cut_off_goes_on_where_it_was(db, connect, opensearch, wait_until):
    db.execute(USERS)
    fill(db, 3000)
    search = connect(rate_limit=1500, batch="16KiB", rebuild_grace="1500ms")
    search.wait_equal()
    command = rebuild(search, wait=False)
    wait_until(lambda: ((search.status().get("rebuild") or {}).get("rows") or 0) > 1700, 30, "half of it is there")
    search.freshet.kill9()
    uuid = opensearch.describe(f"{search.index}-1")["settings"]["index"]["uuid"]
    db.execute("DELETE FROM users WHERE id %% 100 = %s", [7])
    search.freshet.start(wait=False)
    wait_until(lambda: (search.status().get("rebuild") or {}).get("state") == "finishing", 60, every=0.01)
    began = time.monotonic()
    assert opensearch.names(f"{search.index}-*") == {f"{search.index}-0", f"{search.index}-1"}, "searches may be under way"
    wait_until(lambda: search.status()["rebuild"]["state"] == "done", 60, "it is rebuilt", 0.01)
    assert time.monotonic() - began > 1.2
    assert opensearch.names(f"{search.index}-*") == {f"{search.index}-1"}
    command.communicate(timeout=120)
    assert opensearch.describe(search.index)["settings"]["index"]["uuid"] == uuid
    assert search.metric("loads_total") == 0
    search.wait_equal()


def test_what_cannot_be_rebuilt_is_refused(search, db, connect, opensearch, unique, wait_until):
    process = rebuild(search, wait=False)
    again = subprocess.run([str(binary()), "rebuild", "absent", "-c", str(search.freshet.config_path)],
                           env=environment(None), capture_output=True, text=True, timeout=60)
    assert again.returncode == 1 and 'no connector "absent"' in again.stderr
    again = subprocess.run([str(binary()), "rebuild", search.name, "-c", str(search.freshet.config_path)],
                           env=environment(None), capture_output=True, text=True, timeout=60)
    assert again.returncode == 1 and "already" in again.stderr
    assert process.wait(120) == 0
    own = f"{unique}_own"
    opensearch.call("PUT", f"/{own}", json={})
    other = connect(index=own)
    wait_until(lambda: other.status()["loaded"], 30)
    other.wait_equal()
    process = rebuild(other, wait=False)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "mapping" in err, err
    assert concrete(opensearch, own) == {own}
    assert slots(db) == []
    other.wait_equal()
