"""ACL: who may do what. Wording and results are compared with redis-server's."""

import hashlib

import pytest
import redis

from support.pair import story
from support.process import free_port
from support.resp import Wire

PLAIN = {"read_through": False, "workers": 2}


@pytest.fixture
def clean(pair):
    """The pair without users of other tests."""
    yield pair
    pair.compare(story("ACL SETUSER default reset on nopass ~* &* +@all"))
    for server in (pair.redis, pair.freshet):
        for user in server.call("ACL", "USERS"):
            if user not in (b"default", "default"):
                server.call("ACL", "DELUSER", user)


# Rules that name no command that only one of the two has.
RULES = [
    "on nopass ~* &* +@all",
    "on >secret ~cache:* %R~shared:* &news.* &x",
    "off nopass resetkeys",
    "+get +set -get",
    "+get|x +set",
    "+config|get +config|set -config|set",
    "+@all -config|get",
    "-@all +select|0 +select|1",
    "+@all -select +select|0",
    "+client|id +client",
    "~a ~b %R~a %W~b %RW~c",
    "skip-sanitize-payload",
    "reset",
    "on >a >b <a",
    "#" + "a" * 64,
    "allkeys allchannels allcommands",
    "nocommands resetpass resetchannels",
    "+@nothing",
    "+nothing",
    "+config|nothing",
    "+config|get|x",
    "+get|a|b",
    "-get|a",
    "+get|",
    "nonsense",
    "~* ~a",
    "~* %RR~a",
    "+cluster|info -script|flush +function|load +module|list -xinfo|stream",
    "&* &a",
    "%X~a",
    "%RR~a",
    "%R",
    "<nobody",
    "!" + "b" * 64,
    "#xyz",
    "clearselectors",
]


@pytest.mark.parametrize("rules", RULES)
def test_rules_make_what_they_make_in_redis(clean, rules):
    clean.compare([["ACL", "SETUSER", "u", *rules.split()]])
    clean.compare(story("ACL USERS"))

    def told(server):
        """What ACL GETUSER says; the order of Redis's commands is that of a hash table."""
        answer = server.call("ACL", "GETUSER", "u")
        flat = [item for pair in answer for item in pair] if answer and isinstance(answer[0], tuple) else answer
        return flat and [sorted(item.split()) if at == 5 else item for at, item in enumerate(flat)]

    assert told(clean.redis) == told(clean.freshet)


STORIES = {
    "names": 'ACL SETUSER "a b" | ACL DELUSER default | ACL DELUSER nobody | ACL GETUSER nobody | ACL WHOAMI',
    "words": "ACL | ACL LOG 1 2 | ACL NOTHING | ACL WHOAMI x | ACL CAT nothing | ACL CAT a b | ACL GENPASS 0 | ACL GENPASS 4097 | ACL GENPASS x"
    " | ACL LOG x | ACL LOG RESET | ACL LOG | ACL SETUSER",
    "auth": "AUTH x | AUTH default x | AUTH nobody x | AUTH a b c | ACL SETUSER u on >p | AUTH u q | AUTH u p | ACL WHOAMI | ACL SETUSER u off",
    "commands": "ACL SETUSER u on nopass +@all -@string ~* | AUTH u x | SET k v | GET k | LPUSH l a | CONFIG GET nothing | ECHO x",
    "subcommands": "ACL SETUSER u on nopass +config -config;set ~* | AUTH u x | CONFIG GET nothing | CONFIG SET timeout 0 | CONFIG | PING",
    "first arguments": "ACL SETUSER u on nopass +select;0 | AUTH u x | SELECT 0 | SELECT 1 | SELECT",
    "keys": "ACL SETUSER u on nopass +@all ~a:* | AUTH u x | SET a:1 v | GET b | MSET a:2 v b v | MGET a:1 a:2 | DEL a:1 a:2 b | RENAME a:1 b",
    "reads and writes": "SET r v | ACL SETUSER u on nopass +@all %R~r %W~w | AUTH u x | GET r | SET r x | SET w x | GET w | APPEND w y | GETDEL w"
    " | COPY r w | COPY w r | STRLEN w | EXISTS w | SET w x GET | EXPIRE w 9 | BITFIELD r GET u8 0 | BITFIELD w SET u8 0 1 | LPUSH w a | TYPE r",
    "several keys": "ACL SETUSER u on nopass +@all %R~r* %W~w* | AUTH u x | SADD w1 a | SUNIONSTORE w2 r1 r2 | SUNIONSTORE r2 r1 | ZUNIONSTORE w3 2 r1 r2"
    " | ZUNIONSTORE w3 2 r1 w2 | LMOVE w1 w2 LEFT RIGHT | BITOP AND w4 r1 r2 | BITOP AND r1 w1",
    "channels": "ACL SETUSER u on nopass +@all &a &b.* | AUTH u x | PUBLISH a m | PUBLISH b.c m | PUBLISH c m",
    "default off": "ACL SETUSER u on nopass +@all | AUTH u x | ACL SETUSER default off | AUTH x | AUTH default x | ACL SETUSER default on",
    "hello": "ACL SETUSER u on >p +@all | HELLO 2 AUTH u q | HELLO 9 AUTH u p | ACL WHOAMI",
    "dryrun": "ACL SETUSER u on nopass +get +set +config;get ~a | ACL DRYRUN u GET a | ACL DRYRUN u GET b | ACL DRYRUN u DEL a | ACL DRYRUN u CONFIG GET x"
    " | ACL DRYRUN u CONFIG SET x y | ACL DRYRUN nobody GET a | ACL DRYRUN u NOTHING | ACL DRYRUN u GET",
    "replaced while used": "ACL SETUSER u on nopass +@all ~* | AUTH u x | SET k v | ACL SETUSER u -set | SET k v | ACL SETUSER u +set resetkeys | SET k v",
}


@pytest.mark.parametrize("name", STORIES)
def test_rights_are_enforced_as_in_redis(clean, name):
    clean.compare([[word.replace(";", "|") for word in command] for command in story(STORIES[name])])
    clean.compare([["AUTH", "default", "x"]])


def test_the_categories_hold_what_they_hold_in_redis(clean):
    """Of the commands that both have: a few of ours are newer than 7.0, or nowhere else, and what is refused does not count."""
    here = set(clean.freshet.call("COMMAND", "LIST"))
    ours = set(clean.freshet.call("ACL", "CAT"))
    assert ours == set(clean.redis.call("ACL", "CAT"))
    of_ours = {c: set(clean.freshet.call("ACL", "CAT", c)) for c in ours}
    of_theirs = {c: set(clean.redis.call("ACL", "CAT", c)) for c in ours}
    shared = set().union(*of_ours.values()) & set().union(*of_theirs.values())
    shared = {name for name in shared if name.split(b"|")[0] in here}
    differing = {c: sorted((of_ours[c] ^ of_theirs[c]) & shared) for c in ours}
    assert not any(differing.values()), {c: names for c, names in differing.items() if names}


def test_a_deleted_user_loses_its_connections(freshet):
    served = freshet(None, {"cache": PLAIN})
    served.redis.execute_command("ACL SETUSER u on nopass +@all ~* &*")
    with Wire(served.port) as one, Wire(served.port) as other:
        for wire in (one, other):
            assert wire.call("AUTH", "u", "x") == b"+OK"
        assert other.call("ACL", "DELUSER", "u") == b":1"
        assert other.read_to_end() == b""
        assert one.read_to_end() == b""
    assert "user=u" not in str(served.redis.client_list())


def test_a_deleted_user_without_a_name_takes_nobody_along(freshet):
    served = freshet(None, {"cache": PLAIN})
    with Wire(served.port) as other:
        assert other.call("PING") == b"+PONG"
        for words in (["SETUSER", "", "on", "nopass"], ["DELUSER", ""]):
            assert served.redis.execute_command("ACL", *words) in ("OK", 1)
        assert other.call("PING") == b"+PONG"


def test_clients_are_killed_by_their_user(freshet):
    served = freshet(None, {"cache": PLAIN})
    served.redis.execute_command("ACL SETUSER u on nopass +@all ~* &*")
    with Wire(served.port) as one, Wire(served.port) as other:
        assert one.call("AUTH", "u", "x") == b"+OK"
        assert other.call("PING") == b"+PONG"
        assert other.call("CLIENT", "KILL", "USER", "nobody") == b"-ERR No such user 'nobody'"
        assert other.call("CLIENT", "KILL", "USER", "u") == b":1"
        assert one.read_to_end() == b""
        assert other.call("PING") == b"+PONG"


def test_a_change_holds_for_every_worker_at_once(freshet):
    served = freshet(None, {"cache": {**PLAIN, "workers": 4}})
    served.redis.execute_command("ACL SETUSER u on nopass +@all ~*")
    wires = [Wire(served.port) for _ in range(8)]
    for wire in wires:
        assert wire.call("AUTH", "u", "x") == b"+OK"
        assert wire.call("SET", "k", "v") == b"+OK"
    for _ in range(20):
        served.redis.execute_command("ACL SETUSER u -set")
        for wire in wires:
            assert wire.call("SET", "k", "v").startswith(b"-NOPERM")
        served.redis.execute_command("ACL SETUSER u +set")
        for wire in wires:
            assert wire.call("SET", "k", "v") == b"+OK"
    for wire in wires:
        wire.close()


def test_subscribers_lose_channels_that_are_taken_away(freshet):
    served = freshet(None, {"cache": {**PLAIN, "workers": 4}})
    served.redis.execute_command("ACL SETUSER u on nopass +@all resetchannels &a &b*")
    wires = [Wire(served.port) for _ in range(6)]
    for i, wire in enumerate(wires):
        assert wire.call("AUTH", "u", "x") == b"+OK"
        assert wire.call(*(("SUBSCRIBE", "a") if i % 2 else ("PSUBSCRIBE", "b*"))) == b"*3"
    served.redis.execute_command("ACL SETUSER u &c")
    assert served.redis.execute_command("CLIENT LIST") != ""
    assert sum(c["user"] == "u" for c in served.redis.client_list()) == 6
    served.redis.execute_command("ACL SETUSER u resetchannels &b*")
    assert sum(c["user"] == "u" for c in served.redis.client_list()) == 3
    for i, wire in enumerate(wires):
        if i % 2:
            wire.read_to_end()
        wire.close()


def test_the_log_tells_what_was_denied(freshet):
    served = freshet(None, {"cache": PLAIN})
    admin = served.redis
    admin.execute_command("ACL SETUSER u on >p +get ~a")
    with Wire(served.port) as wire:
        assert wire.call("AUTH", "u", "wrong").startswith(b"-WRONGPASS")
        assert wire.call("AUTH", "u", "p") == b"+OK"
        for _ in range(3):
            assert wire.call("SET", "a", "1").startswith(b"-NOPERM")
        assert wire.call("GET", "b").startswith(b"-NOPERM")
    log = [dict(zip(entry[::2], entry[1::2])) if isinstance(entry, list) else entry for entry in admin.acl_log()]
    assert [(e["reason"], e["object"], e["count"]) for e in log] == [("key", "b", 1), ("command", "set", 3), ("auth", "AUTH", 1)]
    assert all(e["username"] == "u" for e in log)
    assert served.metric("freshet_cache_acl_denied_total", reason="command") == 3
    assert served.metric("freshet_cache_acl_denied_total") == 5
    admin.config_set("acllog-max-len", 2)
    with Wire(served.port) as wire:
        wire.call("AUTH", "u", "p")
        wire.call("GET", "c")
    assert len(admin.acl_log()) == 2
    assert admin.acl_log_reset() and admin.acl_log() == []


def test_users_of_the_configuration(freshet, workshop):
    folder = workshop.make_folder("secrets")
    (folder / "app").write_text("from-a-file\n")
    served = freshet(None, {"cache": {**PLAIN, "users": {
        "app": {"rules": "on ~app:* +@read +@write +@connection", "password": f"${{file:{folder / 'app'}}}"},
        "reader": {"rules": "on #" + hashlib.sha256(b"hashed").hexdigest() + " ~* +@read"},
    }}})
    with redis.Redis(port=served.port, username="app", password="from-a-file") as app:
        assert app.set("app:1", "v")
        with pytest.raises(redis.exceptions.NoPermissionError):
            app.set("other", "v")
    with redis.Redis(port=served.port, username="reader", password="hashed") as reader:
        assert reader.get("app:1") == b"v"
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.set("app:1", "w")
    with pytest.raises(redis.exceptions.AuthenticationError), redis.Redis(port=served.port, username="app", password="no") as wrong:
        wrong.ping()


def test_wrong_users_in_the_configuration_are_mistakes(freshet):
    users = {"a": {"rules": "on +nothing >secret"}, "b": {"rules": "on (~x +get)"}}
    served = freshet(None, {"cache": {**PLAIN, "users": users}}, wait=False)
    assert served.process.wait_ended(20) == 2
    log = served.log_text()
    assert '"+nothing": Unknown command or category name in ACL' in log
    assert "Selectors are not supported" in log
    assert "secret" not in log


def test_a_file_of_users_is_loaded_saved_and_loaded_again(freshet, workshop):
    folder = workshop.make_folder("acl")
    folder.chmod(0o777)
    path = folder / "users.acl"
    path.write_text("user alice on allcommands allkeys &* >alice\n\nuser bob on -@all +@set +acl ~set* &* >bob\n")
    path.chmod(0o666)
    served = freshet(None, {"cache": {**PLAIN, "acl_file": str(path)}})
    admin = served.redis
    with redis.Redis(port=served.port, username="bob", password="bob") as bob:
        assert bob.sadd("set", 1) == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            bob.get("set")
    admin.execute_command("ACL SETUSER eve on >eve +get ~*")
    assert admin.acl_save()
    assert "user eve on #" in path.read_text()
    admin.execute_command("ACL DELUSER eve")
    with Wire(served.port) as alice:
        assert alice.call("AUTH", "alice", "alice") == b"+OK"
        assert admin.acl_load()
        assert alice.read_to_end() == b""
    with redis.Redis(port=served.port, username="eve", password="eve") as eve:
        assert eve.get("k") is None

    path.write_text(path.read_text() + "user alice on\nuser carol +nothing\nnonsense\n")
    with pytest.raises(redis.ResponseError) as wrong:
        admin.acl_load()
    assert "Duplicate user 'alice' found on line" in str(wrong.value)
    assert "Error in applying operation '+nothing'" in str(wrong.value)
    assert "should start with user keyword" in str(wrong.value)
    assert set(admin.acl_users()) == {"alice", "bob", "default", "eve"}


def test_without_a_file_load_and_save_say_so(freshet):
    served = freshet(None, {"cache": PLAIN})
    for command in ("ACL LOAD", "ACL SAVE"):
        with pytest.raises(redis.ResponseError, match="not configured to use an ACL file"):
            served.redis.execute_command(command)


def test_commands_that_are_not_here_answer_one_error_and_can_be_named_in_rules(freshet):
    served = freshet(None, {"cache": PLAIN})
    for command in ("XADD s * a b", "EVAL x 0", "GEOADD g 1 1 m", "PFADD h a", "MODULE LIST", "REPLICAOF NO ONE", "BGSAVE"):
        with pytest.raises(redis.ResponseError, match="is not supported: "):
            served.redis.execute_command(command)
    with pytest.raises(redis.ResponseError, match="This instance has cluster support disabled"):
        served.redis.execute_command("CLUSTER INFO")
    assert served.redis.execute_command("ACL SETUSER u -@scripting +xadd -eval +@geo") in ("OK", True)
    assert served.redis.execute_command("COMMAND INFO xadd") in ([None], {})
    assert "xadd" not in served.redis.execute_command("COMMAND LIST")


def test_check_reads_the_file_of_users(cli, workshop):
    path = workshop.make_folder("acl") / "users.acl"

    def check(text):
        path.write_text(text)
        return cli("check", "--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}",
                   "--set", "cache.read_through=false", "--set", f"cache.acl_file={path}")

    good, bad = check("user a on nopass +@all\n"), check("user a +nothing\n")
    assert good.returncode == 0 and "2 users" in good.stdout
    assert bad.returncode == 1 and "Error in applying operation '+nothing'" in bad.stdout
