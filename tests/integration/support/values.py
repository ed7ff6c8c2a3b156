"""Random values of every type as PostgreSQL's text, and the way back from what an event holds to that text.

    kind = KINDS["timestamptz(3)"];  text = kind.make(random)         a literal of the column
    kind.back(value, mode)                                            a literal again, from the event's value
    kind.same                                                         SQL over `a` (the column) and `b` (the way back, of the type)
"""

import base64
import json
import re
import struct
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Callable

EPOCH = date(1970, 1, 1).toordinal()


@dataclass
class Kind:
    make: Callable  # random -> text
    back: Callable  # (value, mode) -> text
    same: str = "a::text IS NOT DISTINCT FROM b::text"
    via: str = None  # the type of the column that the way back is written to; None: the column's own


# ---- the way back ----


def as_text(value, mode):
    return value


def number(value, mode):
    return {True: "t", False: "f"}[value] if isinstance(value, bool) else str(value)


def to_bytes(text, mode):
    if mode["bytes"] == "hex":
        return bytes.fromhex(text)
    return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_"))


def unscaled(text):
    return int.from_bytes(base64.b64decode(text), "big", signed=True)


def plain(n, scale):
    """n / 10**scale without an exponent."""
    digits = str(abs(n)).rjust(scale + 1, "0")
    point = len(digits) - scale
    return ("-" if n < 0 else "") + digits[:point] + ("." + digits[point:] if scale else "")


SPECIAL = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}


def decimal(scale):
    def back(value, mode):
        if mode["decimals"] == "double":
            return str(value)
        if isinstance(value, dict):
            return plain(unscaled(value["value"]), value["scale"])
        if value in SPECIAL:
            return SPECIAL[value]
        return value if mode["decimals"] == "string" else plain(unscaled(value), scale)

    return back


def day(value, mode):
    return {-2147472692: "infinity", -2147472691: "-infinity"}.get(value) or civil(value)


def civil(days):
    """Any year: Python's own calendar ends at 9999."""
    eras, rest = divmod(days, 146097)
    at = date.fromordinal(EPOCH + rest)
    year = at.year + eras * 400
    return f"{year if year > 0 else 1 - year:04d}-{at.month:02d}-{at.day:02d}" + ("" if year > 0 else " BC")


def clock(us):
    return f"{us // 3600000000:02d}:{us // 60000000 % 60:02d}:{us // 1000000 % 60:02d}.{us % 1000000:06d}"


def time(digits):
    def back(value, mode):
        millis = mode["times"] == "connect" or (mode["times"] == "adaptive" and digits <= 3)
        return clock(value * 1000 if millis else value)

    return back


def instant(digits):
    def back(value, mode):
        millis = mode["times"] == "connect" or digits <= 3
        us = value * 1000 if millis else value
        if us in (9223372036825200000, -9223372036832400000):
            return "infinity" if us > 0 else "-infinity"
        days, rest = divmod(us, 86400000000)
        text = civil(days)
        return text.removesuffix(" BC") + " " + clock(rest) + (" BC" if text.endswith(" BC") else "")

    return back


def zoned(value, mode):
    match = re.fullmatch(r"([+-]?)(\d+)(-\d\d-\d\dT.*)", value)
    if not match:
        return value
    year = int(match[1] + match[2])
    return f"{year if year > 0 else 1 - year:04d}{match[3]}" + ("" if year > 0 else " BC")


def bits(length):
    def back(value, mode):
        if isinstance(value, bool):
            return "1" if value else "0"
        n = int.from_bytes(base64.b64decode(value), "little")
        return format(n, "b").rjust(length, "0") if length else format(n, "b").lstrip("0")

    return back


def hstore(value, mode):
    quote = lambda text: "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    pairs = value if mode["hstore"] == "map" else json.loads(value)
    return ",".join(f"{quote(key)}=>{quote(item)}" for key, item in pairs.items())


def point(value, mode):
    assert struct.unpack("<BIdd", base64.b64decode(value["wkb"]))[2:] == (float(value["x"]), float(value["y"])) or "NaN" in (
        value["x"], value["y"])
    return f"({value['x']},{value['y']})"


def interval(value, mode):
    return value if mode["intervals"] == "string" else f"{value}"


def array(element):
    def back(value, mode):
        if value is None:
            return "NULL"
        if isinstance(value, list):
            return "{" + ",".join(back(item, mode) for item in value) + "}"
        text = element(value, mode)
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return back


# ---- values ----


def integers(bits_):
    top = 2 ** (bits_ - 1)
    edges = [0, 1, -1, top - 1, -top, 127, 128, -128, -129]

    def make(r):
        if r.random() < 0.3:
            return str(max(-top, min(top - 1, r.choice(edges))))
        n = r.getrandbits(r.randint(1, bits_ - 1))
        return str(r.choice([n, -n]))

    return make


def floats(code, size):
    def make(r):
        if r.random() < 0.2:
            return r.choice(["0", "-0", "NaN", "Infinity", "-Infinity", "1e10", "1e-5", "0.001", "9999999", "10000000"])
        if r.random() < 0.3:
            return str(r.uniform(-1000, 1000)) if size == 8 else f"{r.uniform(-1000, 1000):.4f}"
        value = struct.unpack(code, r.randbytes(size))[0]
        # What is denormal in its type is not read back by PostgreSQL's real from a longer text.
        return repr(value) if size == 8 else f"{value:.9g}"

    return make


def digits(r, n):
    return "".join(r.choice("0123456789") for _ in range(n))


def numerics(precision=None, scale=None):
    def make(r):
        whole = r.randint(1, precision - scale if precision else r.choice([3, 20, 60, 400]))
        behind = scale if precision else r.choice([0, 0, 2, 10, 40, 300])
        text = (digits(r, whole).lstrip("0") or "0") + ("." + digits(r, behind) if behind else "")
        return r.choice(["", "-"]) + r.choice([text, text, text, "0"])

    return make


def moneys(r):
    return plain(r.randint(-(2**63), 2**63 - 1) >> r.randint(0, 60), 2)


def dates(r):
    if r.random() < 0.1:
        return r.choice(["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "0001-01-01", "0001-12-31 BC", "1970-01-01"])
    return civil(r.choice([r.randint(-30000, 60000), r.randint(-2440588, 2145031948 - 2440588)]))


def clocks(r):
    if r.random() < 0.1:
        return r.choice(["24:00:00", "00:00:00", "23:59:59.999999"])
    return clock(r.randrange(86400000000))


def offsets(r):
    return f"{r.choice('+-')}{r.randint(0, 14):02d}:{r.choice([0, 0, 30, 45]):02d}"


def instants(zone):
    def make(r):
        if r.random() < 0.1:
            return r.choice(["infinity", "-infinity", "1970-01-01 00:00:00", "0001-01-01 00:00:00 BC"])
        # Debezium's sentinels stand near the end; the last years are text.
        text = civil(r.choice([r.randint(-30000, 60000), r.randint(-2440000, 106000000)]))
        bc = " BC" if text.endswith(" BC") else ""
        return f"{text.removesuffix(' BC')} {clock(r.randrange(86400000000))}{offsets(r) if zone else ''}{bc}"

    return make


def intervals(r):
    parts = [f"{r.randint(-200, 200)} years", f"{r.randint(-11, 11)} mons", f"{r.randint(-50, 50)} days",
             f"{r.choice(['', '-'])}{r.randint(0, 200)}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d}.{r.randint(0, 999999):06d}"]
    return " ".join(r.sample(parts, r.randint(1, 4)))


ALPHABETS = ["abc XYZ019", "\"\\'{},=>()[]/%:;&<>\t\n\r\x01\x7f\x08\x0c", "éßø雪", "😀𝔘\u2028\ufeff", "NULL"]


def texts(longest=40):
    def make(r):
        if r.random() < 0.1:
            return r.choice(["", " ", "NULL", "null", "{}", '""', "\\"])
        return "".join(r.choice(r.choice(ALPHABETS)) for _ in range(r.randint(1, longest)))

    return make


def names(r):
    return "".join(r.choice("abcXYZ_019") for _ in range(r.randint(1, 20)))


def jsons(r, depth=0):
    kind = r.randint(0, 5 if depth < 3 else 3)
    if kind == 0:
        return r.choice(["null", "true", "false"])
    if kind == 1:
        return str(Decimal(r.randint(-(10**20), 10**20)).scaleb(-r.randint(0, 12)).__format__("f"))
    if kind in (2, 3):
        return json.dumps(texts()(r).replace("\x00", ""), ensure_ascii=r.random() < 0.5)
    if kind == 4:
        return "[" + r.choice([",", ", ", " ,\n"]).join(jsons(r, depth + 1) for _ in range(r.randint(0, 4))) + "]"
    return "{" + ", ".join(f"{json.dumps(names(r))}: {jsons(r, depth + 1)}" for _ in range(r.randint(0, 4))) + "}"


def hexes(n):
    return lambda r: "".join(r.choice("0123456789abcdef") for _ in range(n))


def byteas(r):
    return "\\x" + r.randbytes(r.choice([0, 1, 2, 3, 20, 200])).hex()


def bit_strings(least, most):
    return lambda r: "".join(r.choice("01") for _ in range(r.randint(least, most)))


def uuids(r):
    h = hexes(32)(r)
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def addresses(r):
    if r.random() < 0.5:
        return ".".join(str(r.randint(0, 255)) for _ in range(4)) + r.choice(["", f"/{r.randint(0, 32)}"])
    return ":".join(hexes(4)(r) for _ in range(8)) + r.choice(["", f"/{r.randint(0, 128)}"])


def networks(r):
    return f"{r.randint(0, 255)}.{r.randint(0, 255)}.0.0/16" if r.random() < 0.5 else f"{hexes(4)(r)}::/16"


def macs(n):
    return lambda r: ":".join(hexes(2)(r) for _ in range(n))


def ranges(element, key=None):
    def make(r):
        if r.random() < 0.1:
            return "empty"
        low, high = sorted((element(r), element(r)), key=key)
        low, high = r.choice([low, low, ""]), r.choice([high, high, ""])
        return r.choice("[(") + low + "," + high + r.choice("])")

    return make


def small(r):
    return str(r.randint(-1000, 1000))


def decent_dates(r):
    return civil(r.randint(-30000, 60000))


def one_of(*words):
    return lambda r: r.choice(words)


def coordinates(n, template):
    return lambda r: template.format(*(r.choice([r.uniform(-1e6, 1e6), r.randint(-9, 9), r.uniform(-1, 1) * 1e-7]) for _ in range(n)))


def hstores(r):
    quote = lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return ",".join(f"{quote(texts(12)(r))}=>{r.choice(['NULL', quote(texts(12)(r))])}" for _ in range(r.randint(0, 20)))


def arrays(element, depth=1):
    def quote(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def build(r, sizes):
        if not sizes:
            return r.choice(["NULL", *[quote(element(r))] * 6])
        return "{" + ",".join(build(r, sizes[1:]) for _ in range(sizes[0])) + "}"

    def make(r):
        if r.random() < 0.1:
            return "{}"
        return build(r, [r.randint(1, 4) for _ in range(r.randint(1, 3))])

    return make


EXACT_INTERVAL = (
    "b::text = (extract(year FROM a) * 12 * 2629800000000 + extract(month FROM a) * 2629800000000 + "
    "extract(day FROM a) * 86400000000 + extract(hour FROM a) * 3600000000 + extract(minute FROM a) * 60000000 + "
    "extract(microseconds FROM a))::numeric(40)::text"
)
UTC = "(a AT TIME ZONE 'UTC')::time = b::time"

SCALARS = {
    "bool": Kind(one_of("t", "f"), number),
    "int2": Kind(integers(16), number),
    "int4": Kind(integers(32), number),
    "int8": Kind(integers(64), number),
    "oid": Kind(lambda r: str(r.getrandbits(32)), number),
    "float4": Kind(floats("<f", 4), number),
    "float8": Kind(floats("<d", 8), number),
    "numeric": Kind(numerics(), decimal(None), "trim_scale(a)::text = trim_scale(b)::text"),
    "numeric(12,4)": Kind(numerics(12, 4), decimal(4)),
    "numeric(30,0)": Kind(numerics(30, 0), decimal(0)),
    "date": Kind(dates, day),
    "time": Kind(clocks, time(6)),
    "time(3)": Kind(clocks, time(3)),
    "timetz": Kind(lambda r: clock(r.randrange(86400000000)) + offsets(r), as_text, UTC),
    "timestamp": Kind(instants(False), instant(6)),
    "timestamp(3)": Kind(instants(False), instant(3)),
    "timestamp(0)": Kind(instants(False), instant(0)),
    "timestamptz": Kind(instants(True), zoned),
    "timestamptz(3)": Kind(instants(True), zoned),
    "bytea": Kind(byteas, lambda value, mode: "\\x" + to_bytes(value, mode).hex()),
    "bit(1)": Kind(bit_strings(1, 1), bits(1)),
    "bit(13)": Kind(bit_strings(13, 13), bits(13)),
    "text": Kind(texts(), as_text),
    "varchar(50)": Kind(texts(), as_text),
    "char(50)": Kind(texts(), as_text),
    "citext": Kind(texts(), as_text),
    "name": Kind(names, as_text),
    "json": Kind(jsons, as_text),
    "jsonb": Kind(jsons, as_text),
    "uuid": Kind(uuids, as_text),
    "inet": Kind(addresses, as_text),
    "cidr": Kind(networks, as_text),
    "macaddr": Kind(macs(6), as_text),
    "macaddr8": Kind(macs(8), as_text),
    "ltree": Kind(lambda r: ".".join(names(r) for _ in range(r.randint(1, 5))), as_text),
    "tsvector": Kind(lambda r: " ".join(names(r) for _ in range(r.randint(0, 8))), as_text),
    "tsquery": Kind(lambda r: " & ".join(names(r) for _ in range(r.randint(1, 4))), as_text),
    "int4range": Kind(ranges(small, int), as_text),
    "int8range": Kind(ranges(small, int), as_text),
    "numrange": Kind(ranges(small, int), as_text),
    "daterange": Kind(ranges(decent_dates, lambda d: d), as_text),
    "tsrange": Kind(ranges(decent_dates, lambda d: d), as_text),
    "tstzrange": Kind(ranges(decent_dates, lambda d: d), as_text),
    "mood": Kind(one_of("sad", "ok", "very happy", 'odd "one"'), as_text),
    "pg_lsn": Kind(lambda r: f"{r.getrandbits(32):X}/{r.getrandbits(32):X}", as_text),
    "hstore": Kind(hstores, hstore),
}

# What is read in an array otherwise than alone, or makes an array of another kind.
OTHERS = {
    "numeric(10,2)": Kind(numerics(10, 2), decimal(2)),
    "money": Kind(moneys, decimal(2), "a::numeric = b::numeric", "numeric"),
    "interval": Kind(intervals, interval, EXACT_INTERVAL, "text"),
    "varbit": Kind(bit_strings(0, 40), bits(0), "ltrim(a::text, '0') = b::text"),
    "point": Kind(coordinates(2, "({},{})"), point),
    "line": Kind(coordinates(2, "{{1,{},{}}}"), as_text),
    "lseg": Kind(coordinates(4, "[({},{}),({},{})]"), as_text),
    "box": Kind(coordinates(4, "({},{}),({},{})"), as_text),
    "path": Kind(coordinates(4, "[({},{}),({},{})]"), as_text),
    "polygon": Kind(coordinates(6, "(({},{}),({},{}),({},{}))"), as_text),
    "circle": Kind(lambda r: f"<({r.uniform(-9, 9)},{r.uniform(-9, 9)}),{r.uniform(0, 9)}>", as_text),
    "xml": Kind(lambda r: f"<a b='{names(r)}'>{names(r)}</a>", as_text),
    '"char"': Kind(one_of("a", "Z", "1"), as_text),
    "int4multirange": Kind(lambda r: "{" + ",".join(ranges(small, int)(r) for _ in range(r.randint(0, 3))) + "}", as_text),
    "pair": Kind(lambda r: f"({r.randint(0, 99)},{names(r)})", as_text),
    "positive": Kind(lambda r: str(r.randint(1, 10**6)), number),
    "int2vector": Kind(lambda r: " ".join(str(r.randint(-9, 9)) for _ in range(r.randint(1, 5))),
                       lambda value, mode: " ".join(map(str, value))),
}

KINDS = {
    **SCALARS,
    **OTHERS,
    **{f"{name}[]": Kind(arrays(kind.make), array(kind.back), kind.same.replace("trim_scale(a)::text = trim_scale(b)::text", "a = b"))
       for name, kind in SCALARS.items() if name != "timetz"},
}
