"""Kafka Connect, one worker, with the connectors that others wrote: Debezium's source and its JDBC sink."""

import requests

from .process import Process, free_port
from .waiting import Hopeless, wait_until

WORKER = """\
bootstrap.servers={brokers}
listeners=http://127.0.0.1:{rest}
offset.storage.file.filename={folder}/offsets
offset.flush.interval.ms=1000
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
plugin.discovery=only_scan
plugin.path=
"""

SINK = {
    "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
    "tasks.max": 1,
    "connection.username": "postgres",
    "connection.password": "none",
    "insert.mode": "upsert",
    "delete.enabled": "true",
    "primary.key.mode": "record_key",
    "schema.evolution": "basic",
    "consumer.override.isolation.level": "read_committed",
    "consumer.override.auto.offset.reset": "earliest",
    "consumer.override.metadata.max.age.ms": 500,
}

SOURCE = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": 1,
    "plugin.name": "pgoutput",
    "skipped.operations": "none",
    "extended.headers.enabled": "false",
    "publication.autocreate.mode": "all_tables",
    "poll.interval.ms": 50,
    "snapshot.mode": "no_data",
}


def avro(registry):
    """Converters that keep schemas in the registry, with Confluent's wire format."""
    settings = {
        "": "io.apicurio.registry.utils.converter.AvroConverter",
        ".apicurio.registry.url": registry.native,
        ".apicurio.registry.auto-register": "true",
        ".apicurio.registry.as-confluent": "true",
        ".apicurio.registry.use-id": "contentId",
        ".apicurio.registry.headers.enabled": "false",
    }
    return {f"{side}.converter{name}": value for side in ("key", "value") for name, value in settings.items()}


class Connect:
    """connect.sink("name", database, topics=[...]) writes the topics to tables of the database; connect.source(...) publishes."""

    def __init__(self, workshop, kafka):
        folder = workshop.make_folder("connect")
        self._rest = free_port()
        (folder / "worker.properties").write_text(
            WORKER.format(brokers=kafka.brokers, rest=self._rest, folder=folder)
            + "connector.client.config.override.policy=All\n"
        )
        jars = workshop.part("consumers")
        self.process = Process(
            workshop,
            ["java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*",
             "org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties"],
            folder,
            name="connect",
        )

    def _url(self, path=""):
        return f"http://127.0.0.1:{self._rest}/connectors{path}"

    def wait_ready(self):
        def answers():
            self.process.assert_running()
            return requests.get(self._url(), timeout=5).ok

        wait_until(answers, 120, "Kafka Connect answers", every=0.2)
        return self

    def add(self, name, config):
        requests.put(self._url(f"/{name}/config"), json={"name": name, **config}, timeout=60).raise_for_status()

    def assert_running(self, name):
        """Ends a wait at once where a task has failed."""
        for task in requests.get(self._url(f"/{name}/status"), timeout=5).json().get("tasks", []):
            if task["state"] == "FAILED":
                raise Hopeless(task["trace"])

    def remove(self, name):
        requests.delete(self._url(f"/{name}"), timeout=30)

    def sink(self, name, database, topics, **settings):
        self.add(name, {
            **SINK,
            "connection.url": f"jdbc:postgresql://127.0.0.1:{database.server.port}/{database.name}",
            "topics": ",".join(topics),
            **settings,
        })

    def source(self, database, prefix, **settings):
        self.add(prefix, {
            **SOURCE,
            "topic.prefix": prefix,
            "database.hostname": "127.0.0.1",
            "database.port": database.server.port,
            "database.user": "postgres",
            "database.password": "none",
            "database.dbname": database.name,
            "slot.name": f"{prefix}_slot",
            "publication.name": f"{prefix}_publication",
            **settings,
        })

        def streams():
            self.assert_running(prefix)
            return any(s["slot_name"] == f"{prefix}_slot" and s["active"] for s in database.slots())

        wait_until(streams, 90, f"{prefix} streams", every=0.1)

    def stop(self):
        self.process.end(0)
