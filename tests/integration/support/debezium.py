"""Debezium in Kafka Connect: the oracle of the event format."""

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
key.converter.schemas.enable={schemas}
value.converter.schemas.enable={schemas}
plugin.discovery=only_scan
plugin.path=
"""

CONNECTOR = {
    "name": "oracle",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": 1,
    "plugin.name": "pgoutput",
    "skipped.operations": "none",
    "extended.headers.enabled": "false",
    "publication.autocreate.mode": "all_tables",
    "poll.interval.ms": 50,
}


class Debezium:
    """A connector at work on a database; with debezium(db, "oracle", **{"snapshot.mode": "initial"}) as oracle: ..."""

    def __init__(self, workshop, kafka, database, prefix, schemas=False, **settings):
        folder = workshop.make_folder("debezium")
        self.prefix = prefix
        self.rest = free_port()
        (folder / "worker.properties").write_text(
            WORKER.format(brokers=kafka.brokers, rest=self.rest, folder=folder, schemas=str(schemas).lower())
        )
        connector = {
            **CONNECTOR,
            "topic.prefix": prefix,
            "database.hostname": "127.0.0.1",
            "database.port": database.server.port,
            "database.user": "postgres",
            "database.password": "none",
            "database.dbname": database.name,
            "slot.name": f"{prefix}_slot",
            "publication.name": f"{prefix}_publication",
            **settings,
        }
        (folder / "connector.properties").write_text("".join(f"{k}={v}\n" for k, v in connector.items()))
        jars = workshop.part("debezium")
        self.process = Process(
            workshop,
            ["java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*",
             "org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", "connector.properties"],
            folder,
            name="debezium",
        )
        self._database, self._slot = database, connector["slot.name"]
        self.wait_streaming()

    def wait_streaming(self, timeout=90):
        """Until its slot is in use, which is so once its snapshot is done."""

        def streaming():
            self.process.assert_running()
            status = requests.get(f"http://127.0.0.1:{self.rest}/connectors/oracle/status", timeout=2).json()
            failed = [task for task in status["tasks"] if task["state"] == "FAILED"]
            if failed:
                raise Hopeless(failed[0]["trace"])
            return any(s["slot_name"] == self._slot and s["active"] for s in self._database.slots())

        wait_until(streaming, timeout, "debezium streams", every=0.1)

    def stop(self):
        self.process.end(30)
