"""The archive connector: compressed segments that hold every change once, and their replay into other sinks."""

import gzip
import hashlib
import json
import subprocess

import pytest

from support.webhook import Receiver
from support.writers import USERS, Writers, fill


def lines_of(path):
    """What gzip makes of a segment: the shape, the records."""
    first, *records = (json.loads(line) for line in gzip.open(path, "rt"))
    return first, records


class Archive:
    """One Freshet that keeps an archive of `users`, and what is in it."""

    def __init__(self, freshet, db, folder=None, start=True, **options):
        self.db = db
        self.freshet = freshet(db, {"roles": ["connectors"]}, start=False)
        self.path = folder or self.freshet.folder / "archive"
        connector = {"name": "backup", "type": "archive", "path": str(self.path), "table": "public.users", **options}
        self.freshet.config["connectors"] = [connector]
        self.freshet.config["state_dir"] = str(self.freshet.folder / "state")
        self.freshet.write_config()
        if start:
            self.freshet.start(wait=False)

    def manifest(self):
        """Header and segments as of now: the manifest, and a head that is newer."""
        parts = []
        for name in ("head", "manifest"):
            path = self.path / name
            text = path.read_bytes() if path.exists() else b""
            *lines, last = text.splitlines(keepends=True) or [b"{}"]
            if lines:
                assert json.loads(last)["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()
                header, *segments = map(json.loads, lines)
                parts.append((header, segments))
        if not parts:
            return {"sequence": 0, "loaded": False}, []
        *head, (manifest, segments) = parts
        if head and head[0][0]["closed"] == manifest["closed"] and head[0][0]["sequence"] > manifest["sequence"]:
            return head[0][0], [one for one in segments if "open" not in one] + head[0][1]
        return manifest, segments

    def records(self):
        """Of all that is committed, in order. The process may be writing."""
        _, segments = self.manifest()
        found = []
        for segment in segments:
            name = f"{segment['segment']:012d}.ndjson.gz"
            path = self.path / name
            data = (path if path.exists() else path.with_name(name + ".open")).read_bytes()[: segment["bytes"]]
            assert hashlib.sha256(data).hexdigest() == segment["sha256"]
            first, *records = map(json.loads, gzip.decompress(data).splitlines())
            assert first["segment"] == segment["segment"]
            assert len(records) == segment["lines"]
            found += records
        return found

    def rows(self):
        rows = {}
        for record in self.records():
            if record["operation"] == "put":
                rows[record["id"]] = (record["version"], record["document"])
            elif record["operation"] == "delete":
                rows.pop(record["id"], None)
            else:
                rows = {key: row for key, row in rows.items() if row[0] >= record["version"]}
        return {key: document for key, (_, document) in rows.items()}

    def is_equal(self):
        rows = {str(row["id"]): row["doc"] for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
        kept = self.rows()
        wrong = sorted(key for key in rows.keys() | kept.keys() if rows.get(key) != kept.get(key))
        assert not wrong, f"{len(wrong)} differ: {[(key, rows.get(key), kept.get(key)) for key in wrong[:2]]}"
        return True


def is_once(records):
    """No change of a row stands there twice."""
    changes = [(r["id"], r["version"], r["operation"]) for r in records if "id" in r]
    return len(changes) == len(set(changes))


@pytest.fixture
def archive(freshet, db, wait_until):
    def make(**options):
        archive = Archive(freshet, db, **options)
        archive.wait_equal = lambda timeout=30: wait_until(archive.is_equal, timeout, "the archive tells the table", 0.2)
        return archive

    return make


def test_every_change_is_a_line_of_segments_that_gzip_reads(db, archive, wait_until):
    db.execute(USERS)
    fill(db, 500)
    backup = archive(segment_size="4KiB")
    backup.wait_equal()
    db.execute("UPDATE users SET name = 'changed' WHERE id = 7")
    db.execute("DELETE FROM users WHERE id = 8")
    db.execute("UPDATE users SET id = 2009 WHERE id = 9")
    backup.wait_equal()
    db.execute_many("TRUNCATE users", "INSERT INTO users VALUES (1, 'again', 1, NULL)")
    backup.wait_equal()
    fill(db, 500, first=3000)
    backup.wait_equal()
    assert is_once(backup.records())
    backup.freshet.stop()
    header, segments = backup.manifest()
    closed = [one for one in segments if "open" not in one]
    assert len(closed) >= 2 and header["loaded"] and header["table"] == "public.users"
    for segment in closed:
        path = backup.path / f"{segment['segment']:012d}.ndjson.gz"
        assert subprocess.run(["sha256sum", path], capture_output=True, text=True).stdout.split()[0] == segment["sha256"]
        first, records = lines_of(path)
        assert first["keys"] == ["id"] and first["columns"][0] == {"name": "id", "class": "long", "type": "bigint"}
        low, high = (int(half[0], 16) << 32 | int(half[1], 16) for half in (segment[k].split("/") for k in ("first", "last")))
        assert (records[0]["version"], records[-1]["version"], len(records)) == (low, high, segment["lines"])


def test_a_restart_goes_on_where_it_was(db, archive):
    db.execute(USERS)
    fill(db, 100)
    backup = archive()
    backup.wait_equal()
    n = len(backup.records())
    backup.freshet.stop()
    db.execute("UPDATE users SET age = 99 WHERE id = 1")
    backup.freshet.start(wait=False)
    backup.wait_equal()
    assert len(backup.records()) == n + 1


def test_a_segment_is_closed_when_it_is_old_enough(db, archive, wait_until):
    db.execute(USERS)
    fill(db, 3)
    backup = archive(segment_interval="1s")

    def has_closed():
        db.execute("UPDATE users SET age = age + 1 WHERE id = 1")
        return len(list(backup.path.glob("*.ndjson.gz"))) >= 2

    wait_until(has_closed)
    backup.wait_equal()


def test_kill_9_in_mid_load_leaves_nothing_of_it(db, archive, wait_until):
    db.execute(USERS)
    fill(db, 60000)
    backup = archive(batch="32KiB", segment_size="16KiB")
    for _ in range(2):
        wait_until(lambda: backup.freshet.metric("freshet_connector_indexed_total") > 1000, what="it loads")
        backup.freshet.kill9()
        assert backup.records() == [] or backup.manifest()[0]["loaded"]
        backup.freshet.start(wait=False)
    backup.wait_equal(60)
    assert is_once(backup.records())


def test_kill_9_under_writers_loses_nothing_and_repeats_nothing(db, archive, wait_until):
    db.execute(USERS)
    fill(db, 300)
    backup = archive(batch_interval="20ms", batch="4KiB", segment_size="8KiB")
    writers = Writers(db)
    for n in range(4):
        before = writers.transactions
        wait_until(lambda: writers.transactions > before + 80, what="writers write")
        sequence = backup.manifest()[0]["sequence"]
        wait_until(lambda: backup.manifest()[0]["sequence"] > sequence + 3, 30, "some commits more")
        backup.freshet.kill9()
        assert is_once(backup.records())
        backup.freshet.start(wait=False)
    writers.end()
    backup.wait_equal(60)
    assert is_once(backup.records())
    assert len(list(backup.path.glob("*.ndjson.gz"))) >= 5


def test_a_full_disk_is_told_and_nothing_is_lost(db, archive, tmp_path, wait_until):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        db.execute(USERS)
        fill(db, 100)
        ballast = tmp_path / "ballast"
        backup = archive(folder=tmp_path / "archive")
        backup.wait_equal()
        ballast.write_bytes(b"x" * 120000)
        db.execute("INSERT INTO users SELECT i, 'n', 1, md5(i::text) || md5((i + 1)::text) FROM generate_series(1000, 6000) i")
        wait_until(lambda: "No space left" in backup.freshet.status()["connectors"][0]["last_error"])
        assert is_once(backup.records()) and len(backup.rows()) == 100
        subprocess.run(["mount", "-o", "remount,size=8m", tmp_path], check=True)
        backup.wait_equal()
        assert is_once(backup.records())
        backup.freshet.stop()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


# ---- replay ----


@pytest.fixture
def replay(cli, freshet, db):
    def run(path, connector):
        one = freshet(db, {"roles": ["connectors"], "connectors": [{"name": "target", "table": "public.users", **connector}]}, start=False)
        one.config["state_dir"] = str(one.folder / "state")
        (one.folder / "state").mkdir()
        one.write_config()
        return cli("replay", path, "--connector", "target", "-c", one.config_path)

    return run


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()
    assert not receiver.wrong


def written(db, archive):
    """An archive with something of everything."""
    db.execute(USERS)
    db.execute("ALTER TABLE users ALTER COLUMN note SET STORAGE EXTERNAL")
    fill(db, 300)
    backup = archive(segment_size="2KiB", batch="4KiB")
    backup.wait_equal()
    db.execute_many("TRUNCATE users", "INSERT INTO users SELECT i, 'n', i, repeat('x', 3000) FROM generate_series(5, 200) i")
    db.execute("ALTER TABLE users ADD COLUMN more jsonb")
    db.execute("UPDATE users SET age = age + 1")
    db.execute("UPDATE users SET more = '{\"a\": [1, null]}', name = E'a \"b\" \\n c' WHERE id < 50")
    db.execute("UPDATE users SET more = 'null' WHERE id = 50")
    db.execute("DELETE FROM users WHERE id % 7 = 0")
    backup.wait_equal()
    backup.freshet.stop()
    return backup


def test_replay_writes_an_archive_into_another_sink(db, archive, replay, receiver):
    backup = written(db, archive)
    done = replay(backup.path, {"type": "webhook", "url": receiver.url, "secret": receiver.secret})
    assert done.returncode == 0, done.stderr
    assert receiver.rows == {str(row["id"]): row["doc"] for row in db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
    assert done.stdout.startswith(f"records {len(backup.records())} of {len(backup.manifest()[1])} segments: written ")


def test_replay_into_a_table_has_the_texts_that_they_were(db, archive, replay):
    backup = written(db, archive)
    db.execute("CREATE TABLE copy (LIKE users INCLUDING ALL)")
    done = replay(backup.path, {"type": "view", "into": "public.copy"})
    assert done.returncode == 0, done.stderr
    texts = [db.rows(f"SELECT t::text FROM {table} t ORDER BY id") for table in ("users", "copy")]
    assert texts[0] == texts[1] and len(texts[0]) > 100


def test_replay_gives_the_columns_that_the_connector_has_chosen(db, archive, replay, receiver):
    backup = written(db, archive)
    done = replay(backup.path, {"type": "webhook", "url": receiver.url, "secret": receiver.secret, "columns": ["name", {"id": "user_id"}]})
    assert done.returncode == 0, done.stderr
    rows = db.rows("SELECT id, row_to_json(t) AS doc FROM (SELECT id, name, id AS user_id FROM users) t")
    assert receiver.rows == {str(row["id"]): {name: row["doc"][name] for name in ("name", "user_id")} for row in rows}


def test_a_damaged_segment_ends_the_replay_before_it(db, archive, replay, receiver):
    backup = written(db, archive)
    closed = sorted(backup.path.glob("*.ndjson.gz"))
    assert len(closed) >= 2
    data = bytearray(closed[1].read_bytes())
    data[len(data) // 2] ^= 1
    closed[1].write_bytes(data)
    done = replay(backup.path, {"type": "webhook", "url": receiver.url, "secret": receiver.secret})
    assert done.returncode == 1 and f"{closed[1].name} is damaged" in done.stderr
    first = {record["id"] for record in lines_of(closed[0])[1] if "id" in record}
    assert set(receiver.rows) <= first


def test_verify_names_segments_that_cannot_be_read(db, archive, cli):
    backup = written(db, archive)
    _, segments = backup.manifest()
    lines = sum(segment["lines"] for segment in segments)
    ran = cli("verify", backup.path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(segments)} segments with {lines} records are whole; missing 0" in ran.stdout
    first, second, third, *_ = closed = sorted(backup.path.glob("*.ndjson.gz"))
    first.rename(backup.path / "moved")
    second.write_bytes(second.read_bytes()[:-1])
    data = bytearray(third.read_bytes())
    data[len(data) // 2] ^= 1
    third.write_bytes(data)
    ran = cli("verify", "backup", "-c", backup.freshet.config_path)
    found = {words[1]: words[0] for words in map(str.split, ran.stdout.splitlines()) if words[1].endswith(".gz")}
    assert found == {first.name: "missing", second.name: "truncated", third.name: "damaged"}, ran.stdout
    assert ran.returncode == 1 and f"{len(segments) - 3} segments with" in ran.stdout
    (backup.path / "manifest").unlink()
    ran = cli("verify", backup.path)
    assert ran.returncode == 1 and "is no archive" in ran.stderr


def test_what_is_no_archive_and_no_connector_is_told(db, cli, replay, receiver, tmp_path):
    db.execute(USERS)
    target = {"type": "webhook", "url": receiver.url, "secret": receiver.secret}
    done = replay(tmp_path, target)
    assert done.returncode == 1 and "is no archive" in done.stderr
    done = cli("replay", tmp_path, "--connector", "nobody", "--database", db.url)
    assert done.returncode == 2 and "no connector" in done.stderr
    done = cli("replay", tmp_path, "--database", db.url)
    assert done.returncode == 2 and "--connector" in done.stderr
