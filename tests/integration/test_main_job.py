"""The main job, end to end: rows are read, a row changes, and cache, topic and index follow."""

import json

import pytest


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_a_change_reaches_cache_topic_and_index(shop, kafka, opensearch, freshet, unique, wait_until, tmp_path):
    index = f"{unique}_customers"
    f = freshet(
        shop,
        {
            "state_dir": str(tmp_path),
            "cdc": {"tables": ["public.customers"]},
            "connectors": [
                {
                    "name": unique,
                    "type": "opensearch",
                    "url": opensearch.url,
                    "table": "public.customers",
                    "index": index,
                }
            ],
        },
        kafka=kafka,
        prefix=unique,
    )
    topic = f"{unique}.public.customers"

    assert f.row("customers:42") == json.loads(shop.value("SELECT row_to_json(c)::text FROM customers c WHERE id = 42"))
    assert f.row("customers:9001") is None
    wait_until(lambda: len(opensearch.documents(index)) == 2000, 60, "the index is loaded")
    assert len(kafka.wait_for(topic, 2000)) == 2000

    shop.execute_many(
        "UPDATE customers SET city = 'Reykjavik' WHERE id = 42",
        "INSERT INTO customers (id, name, email) VALUES (9001, 'Hedy Lamarr', 'hedy@example.com')",
        "DELETE FROM order_items WHERE order_id = 1",
    )
    f.wait_applied(shop)
    assert f.row("customers:42")["city"] == "Reykjavik"
    assert f.row("customers:9001")["name"] == "Hedy Lamarr"
    assert f.row("order_items:1:1") is None

    changes = [r.value for r in kafka.wait_for(topic, 2002) if r.value["op"] != "r"]
    assert sorted((change["op"], change["after"]["id"]) for change in changes) == [("c", 9001), ("u", 42)]
    wait_until(lambda: opensearch.documents(index).get("9001", {}).get("name") == "Hedy Lamarr", 30)
    wait_until(lambda: opensearch.documents(index)["42"]["city"] == "Reykjavik", 30)


def test_a_table_without_a_key_keeps_accepting_updates(shop, freshet):
    """Freshet's publications never make the application's own statements fail."""
    f = freshet(shop)
    assert shop.execute("UPDATE page_views SET path = '/' WHERE path = '/product/1'") == 1
    assert shop.execute("DELETE FROM page_views WHERE path = '/'") == 1
    assert f.redis.set("page_views:1", "an ordinary key") is True
    assert f.redis.get("page_views:1") == "an ordinary key"


def test_events_come_on_standard_output_without_a_broker(shop, freshet, wait_until):
    f = freshet(shop, {"cdc": {"output": "stdout", "snapshot": "never"}})
    shop.execute("UPDATE customers SET city = 'Reykjavik' WHERE id = 42")
    wait_until(lambda: any('"Reykjavik"' in json.dumps(event) for event in f.events()), what="the event")


def test_the_ready_line_and_the_page_agree(shop, freshet):
    f = freshet(shop)
    assert any(line.startswith("ready") for line in f.log_text().splitlines())
    assert f.http("/healthz").status_code == 200
    page = f.http("/metrics").text
    names = {name for name, _, _ in f.metrics()}
    helped = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP")}
    for name in names:
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        assert name.startswith("freshet_"), name
        assert name in helped or base in helped, f"{name} has no HELP"
