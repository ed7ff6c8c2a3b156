"""Events on standard output: the slot is the position, and what is lost with it is said aloud."""

import psycopg
import pytest


@pytest.fixture
def publisher(freshet, shop, unique, wait_until):
    f = freshet(shop, {"roles": ["cdc"], "cdc": {"output": "stdout", "slot": unique, "publication": unique}})
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming")
    return f


def cut(shop, slot):
    shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [slot])


def test_a_cut_connection_goes_on_where_it_was(publisher, shop, unique, wait_until):
    for value in range(3):
        shop.execute("UPDATE customers SET city = %s WHERE id = 1", [f"city {value}"])
        wait_until(lambda: [e for e in publisher.events() if e["value"] and e["value"]["op"] == "u"][value:])
        cut(shop, unique)
    cities = [e["value"]["after"]["city"] for e in publisher.events() if e["value"] and e["value"]["op"] == "u"]
    assert list(dict.fromkeys(cities)) == ["city 0", "city 1", "city 2"]
    reads = [e for e in publisher.events() if e["value"] and e["value"]["op"] == "r"]
    assert len(reads) == len({(e["topic"], str(e["key"])) for e in reads}), "the snapshot was printed again"


def test_a_slot_that_is_dropped_under_it_is_a_loud_error(publisher, shop, unique, wait_until):
    def drop():
        cut(shop, unique)
        try:
            shop.execute("SELECT pg_drop_replication_slot(%s)", [unique])
        except psycopg.errors.ObjectInUse:
            return False
        return True

    wait_until(drop)
    wait_until(lambda: publisher.status()["cdc"]["feed"]["state"] == "failed")
    assert f'slot "{unique}" is gone' in publisher.status()["cdc"]["feed"]["cause"]
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", [unique]) == 0
    publisher.kill9()
