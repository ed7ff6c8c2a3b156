"""A schema registry (Apicurio's, in memory), and what a test asks of it by Confluent's API."""

import io
import json
import struct

import fastavro
import requests

from .process import Process, free_port
from .waiting import wait_until


class Registry:
    """registry.url is where Confluent's API is; registry.native that of Apicurio's own clients.

    registry.decode(data) -> the record behind the id;  registry.schema(id) -> that schema;  registry.call("PUT", "/config/x-value", {...})
    """

    def __init__(self, workshop):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        self.native = f"http://127.0.0.1:{port}/apis/registry/v2"
        self._readers = {}
        home = workshop.part("registry") / "home"
        jar = next(home.glob("apicurio-registry-app-*-runner.jar"))
        self.process = Process(
            workshop,
            ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dquarkus.http.port={port}",
             "-Dquarkus.http.host=127.0.0.1", "-jar", jar],
            workshop.make_folder("registry"),
            name="registry",
        )

    def wait_ready(self):
        def answers():
            self.process.assert_running()
            return requests.get(f"{self.url}/subjects", timeout=5).ok

        wait_until(answers, 120, "the registry answers", every=0.2)
        return self

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        return requests.request(method, self.url + path, data=json.dumps(body) if body else None, headers=headers, timeout=30)

    def schema(self, id):
        return json.loads(self.call("GET", f"/schemas/ids/{id}").json()["schema"])

    def decode(self, data):
        def reader(id):
            if id not in self._readers:
                self._readers[id] = parse(self.schema(id))
            return self._readers[id]

        return decode(data, reader)

    def stop(self):
        self.process.end(0)  # it keeps nothing


def bare(schema):
    """Without logical types: their values are what is written, Python's dates end with the year 9999."""
    if isinstance(schema, dict):
        return {name: bare(value) for name, value in schema.items() if name != "logicalType"}
    return [bare(one) for one in schema] if isinstance(schema, list) else schema


def parse(schema):
    """What decode() reads records by."""
    return fastavro.parse_schema(bare(schema))


def decode(data, reader):
    """A record in Confluent's wire format: reader(id) -> its parsed schema. Each byte is the record's."""
    if data is None:
        return None
    magic, id = struct.unpack(">bI", data[:5])
    assert magic == 0, data[:5]
    rest = io.BytesIO(data[5:])
    record = fastavro.schemaless_reader(rest, reader(id))
    assert rest.read() == b"", "bytes behind the record"
    return record
