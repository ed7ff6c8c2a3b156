"""Freshet never breaks what the application does to its own tables: neither its writes nor its schema changes."""

import pytest

ALTERATIONS = [
    "ALTER TABLE accounts REPLICA IDENTITY FULL",
    "ALTER TABLE accounts ALTER COLUMN code TYPE bigint",
    "ALTER TABLE accounts ALTER COLUMN id TYPE bigint",
    "ALTER TABLE accounts DROP COLUMN code",
    "ALTER TABLE accounts ADD COLUMN doubled int GENERATED ALWAYS AS (id * 2) STORED",
    "ALTER TABLE accounts RENAME COLUMN code TO number",
]


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_schema_change_is_not_refused_and_the_next_write_works(db, freshet, wait_until, alteration):
    db.execute("CREATE TABLE accounts (id int PRIMARY KEY, code int UNIQUE, balance int NOT NULL)")
    db.execute("INSERT INTO accounts VALUES (1, 10, 100)")
    f = freshet(db)
    assert f.row("accounts:1")["balance"] == 100
    db.execute(alteration)
    db.execute("UPDATE accounts SET balance = 200 WHERE id = 1")
    wait_until(lambda: f.row("accounts:1")["balance"] == 200)
    db.execute("DELETE FROM accounts WHERE id = 1")
    wait_until(lambda: f.redis.get("accounts:1") is None)
