"""COMMAND INFO tells of each command what redis-server 7.0 tells: arity, flags, where its keys are and what it does with them, and tips."""

from support.rawresp import RawResp, Simple

# Of scripts that keep the server busy, of its own log's fields, and what only its command line cares for.
NOT_OURS = {Simple("allow_busy"), Simple("skip_slowlog"), Simple("skip_monitor")}
# SORT finds keys by patterns, which no specification tells; ECHO is not for a server that loads.
OTHERWISE = {b"sort", b"sort_ro", b"echo"}


def told(info):
    name, arity, flags, first, last, step, categories, tips, specs, subcommands = info
    plain = []
    for spec in specs:
        fields = dict(zip(spec[::2], spec[1::2]))
        plain.append((sorted(flag.text for flag in fields[b"flags"]), fields[b"begin_search"], fields[b"find_keys"]))
    return {
        "arity": arity,
        "flags": {flag.text for flag in flags if flag not in NOT_OURS},
        "keys": (first, last, step),
        "categories": {category.text for category in categories},
        "key specifications": plain,
        "tips": {tip for tip in tips},
    }


def test_commands_are_told_of_as_redis_does(redis_server, plain):
    theirs = RawResp(redis_server.connection_pool.connection_kwargs["port"])
    ours = RawResp(plain.port)
    compared = 0
    for info in theirs.call("COMMAND"):
        name = info[0]
        (our,) = ours.call("COMMAND", "INFO", name)
        if our is None or name in OTHERWISE:
            continue
        assert told(our) == told(info), name
        compared += 1
        subcommands = {sub[0]: sub for sub in our[9]}
        for sub in info[9]:
            if sub[0] in subcommands:
                assert told(subcommands[sub[0]])["tips"] == told(sub)["tips"], sub[0]
    assert compared > 100
    theirs.close()
    ours.close()


def test_keys_of_a_request_are_those_of_redis(pair):
    pair.compare(
        [
            ["COMMAND", "GETKEYS", *request.split()]
            for request in (
                "GET a",
                "MSET a 1 b 2",
                "ZUNION 2 a b WITHSCORES",
                "ZUNIONSTORE d 2 a b",
                "ZMPOP 2 a b MIN",
                "BZMPOP 0 2 a b MIN",
                "BZPOPMIN a b 0",
                "ZRANGESTORE d s 0 -1",
                "BITOP AND d a b",
                "LMOVE a b LEFT LEFT",
                "SINTERCARD 2 a b",
                "ZADD a 1 x",
                "PING",
                "NOSUCH a",
                "ZUNION 0 a",
                "ZUNION 5 a",
                "GET",
                "ZADD a 1",
            )
        ]
    )
