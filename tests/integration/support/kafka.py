"""A Kafka broker (KRaft, one node) for the tests, and what a test asks of it."""

import json
import signal
import time
import uuid
from dataclasses import dataclass

from confluent_kafka import Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from .process import Process, free_port
from .waiting import PATIENCE, wait_until

SERVER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SASL_SSL://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SASL_SSL://127.0.0.1:{tls}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs={folder}/data
num.partitions=3
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

# Two more doors, for who has a password; the plain one is for superusers.
DOORS = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
"""

DOOR = """\
listener.name.{door}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="{password}";
listener.name.{door}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
PASSWORD = "open-sesame"

LOGGING = """\
Configuration:
  Appenders:
    Console: {name: STDOUT, PatternLayout: {pattern: "%d %p %m (%c)%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: STDOUT}}
"""


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: object  # JSON, decoded; None
    value: object  # JSON, decoded; None for a tombstone
    headers: dict  # name -> text
    raw_key: bytes
    raw_value: bytes


def free_ports(n):
    ports = set()
    while len(ports) < n:
        ports.add(free_port())
    return list(ports)


def decode(data):
    if data is None:
        return None
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def record_of(message):
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        decode(message.key()),
        decode(message.value()),
        {name: value.decode() if value is not None else None for name, value in message.headers() or []},
        message.key(),
        message.value(),
    )


class Kafka:
    """One broker.

    kafka.brokers                                    "127.0.0.1:29092"
    kafka.topics("shop.")                            names that begin so
    kafka.read("shop.public.users", ...)             all committed records of these topics so far, as Record
    kafka.wait_for("shop.public.users", 3)           the same, once there are at least 3
    kafka.consumer(**settings)                       a confluent_kafka.Consumer of your own
    kafka.create_topic(name, partitions=1, **config), kafka.produce(topic, key, value)
    kafka.stop(), kafka.start(), kafka.kill9()       it keeps its data and port
    kafka.pause(), kafka.resume()                    SIGSTOP, SIGCONT
    Kafka(workshop, mate=kafka)                      a second broker in its cluster
    kafka.door("scram", tls=True)                    the brokers, and librdkafka's properties, for the user plain or scram
    kafka.allow("scram", "topic", f"{unique}.", "WRITE")      by prefix, with the broker's authorizer; deny(...) takes it back
    """

    heap = "512m"
    compiler = ["-XX:TieredStopAtLevel=1"]  # starts fast and runs slowly

    def __init__(self, workshop, mate=None, **settings):
        """`mate`: the broker of whose cluster this one is the second."""
        self._workshop = workshop
        self._folder = workshop.make_folder("kafka", unprivileged=True)
        self.port, self.sasl_port, self.tls_port, controller = free_ports(4)
        self.brokers = f"127.0.0.1:{self.port}"
        self.process = None
        self.certificate = self._folder / "broker.crt"
        self._make_certificate()
        self.controller = mate.controller if mate else controller
        config = SERVER.format(
            port=self.port, sasl=self.sasl_port, tls=self.tls_port, controller=self.controller, folder=self._folder
        )
        if mate:
            config = config.replace(f",CONTROLLER://127.0.0.1:{self.controller}\nadvertised", "\nadvertised")
            config = config.replace("process.roles=broker,controller\nnode.id=1", "process.roles=broker\nnode.id=2")
        config += DOORS.format(folder=self._folder)
        config += "".join(DOOR.format(door=door, password=PASSWORD) for door in ("sasl_plaintext", "sasl_ssl"))
        config += "".join(f"{name.replace('__', '.')}={value}\n" for name, value in settings.items())
        (self._folder / "server.properties").write_text(config)
        (self._folder / "log4j2.yaml").write_text(LOGGING)
        workshop.run(
            self._java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", "server.properties",
                       "--add-scram", f"SCRAM-SHA-256=[name=scram,password={PASSWORD}]"),
            unprivileged=True,
            cwd=self._folder,
        )
        self.start()

    def _java(self, main, *args):
        jars = self._workshop.part("kafka")
        return ["java", f"-Xmx{self.heap}", "-Xms256m", "-XX:+UseSerialGC", *self.compiler,
                f"-Dlog4j2.configurationFile={self._folder}/log4j2.yaml", "-cp", f"{jars}/*", main, *args]

    def _make_certificate(self):
        """One that signs itself, and with its key in a file for the broker."""
        key = self._folder / "broker.key"
        self._workshop.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", "/CN=broker",
                            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.certificate])
        pem = self._folder / "broker.pem"
        pem.write_text(key.read_text() + self.certificate.read_text())
        for path in (pem, self.certificate):
            path.chmod(0o644)

    def door(self, user, tls=False, password=PASSWORD):
        properties = {
            "security.protocol": "sasl_ssl" if tls else "sasl_plaintext",
            "sasl.mechanism": {"plain": "PLAIN", "scram": "SCRAM-SHA-256"}[user],
            "sasl.username": user,
            "sasl.password": password,
        }
        if tls:
            properties["ssl.ca.location"] = str(self.certificate)
        return f"127.0.0.1:{self.tls_port if tls else self.sasl_port}", properties

    def _binding(self, user, kind, prefix, operation):
        return AclBinding(
            ResourceType[kind.upper()], prefix, ResourcePatternType.PREFIXED, f"User:{user}", "*", AclOperation[operation],
            AclPermissionType.ALLOW,
        )

    def allow(self, user, kind, prefix, *operations):
        admin = self.admin()
        for done in admin.create_acls([self._binding(user, kind, prefix, each) for each in operations]).values():
            done.result()

    def deny(self, user, kind, prefix, *operations):
        """Takes back what was allowed."""
        admin = self.admin()
        for each in operations:
            allowed = AclBindingFilter(
                ResourceType[kind.upper()], prefix, ResourcePatternType.PREFIXED, f"User:{user}", None, AclOperation[each],
                AclPermissionType.ANY,
            )
            for done in admin.delete_acls([allowed]).values():
                done.result()

    def start(self):
        self.process = Process(
            self._workshop, self._java("kafka.Kafka", "server.properties"), self._folder, name="kafka", unprivileged=True
        )
        wait_until(self._answers, 60, "kafka answers")

    def _answers(self):
        self.process.assert_running()
        return self.admin().list_topics(timeout=2).brokers

    def stop(self):
        self.process.end(20)

    def kill9(self):
        self.process.kill9()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def admin(self):
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def topics(self, prefix=""):
        return sorted(t for t in self.admin().list_topics(timeout=10).topics if t.startswith(prefix) and t[0] != "_")

    def create_topic(self, name, partitions=1, replicas=1, **config):
        settings = {key.replace("__", "."): str(value) for key, value in config.items()}
        admin = self.admin()  # the result comes only while it lives
        admin.create_topics([NewTopic(name, partitions, replicas, config=settings)])[name].result()

    def limit(self, user, **quotas):
        """A client quota: limit("plain", producer_byte_rate=50000)."""
        config = ",".join(f"{name}={value}" for name, value in quotas.items())
        self._workshop.run(self._java("kafka.admin.ConfigCommand", "--bootstrap-server", self.brokers, "--alter",
                                      "--add-config", config, "--entity-type", "users", "--entity-name", user))

    def produce(self, topic, key, value, headers=None):
        producer = Producer({"bootstrap.servers": self.brokers})
        producer.produce(topic, key=key, value=value, headers=headers)
        producer.flush(10)

    def consumer(self, **settings):
        return Consumer({
            "bootstrap.servers": self.brokers,
            "group.id": f"test-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
            **{key.replace("__", "."): value for key, value in settings.items()},
        })

    def ends(self, places):
        """The offset behind each one's last record, committed or not."""
        if not places:
            return {}
        admin = self.admin()  # the results come only while it lives
        latest = {place: OffsetSpec.latest() for place in places}
        asked = admin.list_offsets(latest, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {(place.topic, place.partition): future.result(10 * PATIENCE).offset for place, future in asked.items()}

    def read(self, *topics, isolation="read_committed", timeout=30):
        """Every record of the topics up to their ends, by topic, partition and offset. A topic that is not there has none.

        A transaction that has just been committed shows itself a moment later, partition by partition: what stands before the ends
        is waited for, but not for ever, as it may be of one that is open."""
        consumer = self.consumer(isolation__level=isolation)
        try:
            # Of one topic alone, where one is asked for: the broker's list is long by the end of a session.
            known = consumer.list_topics(*topics if len(topics) == 1 else (), timeout=10).topics
            places = [TopicPartition(topic, p, 0) for topic in topics if topic in known for p in known[topic].partitions]
            consumer.assign(places)
            open_places = {(place.topic, place.partition) for place in places}
            ends = self.ends(places) if isolation == "read_committed" else {}
            records, held_back = [], set()
            due = time.monotonic() + PATIENCE
            while open_places:
                waiting = open_places <= held_back
                message = consumer.poll(max(0, due - time.monotonic()) if waiting else timeout * PATIENCE)
                if message is None and waiting:
                    break
                assert message is not None, f"{open_places}: no end within {timeout} s"
                place = (message.topic(), message.partition())
                if message.error() is None:
                    records.append(record_of(message))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    held_back.add(place)
                    if message.offset() >= ends.get(place, 0):
                        open_places.discard(place)
                else:
                    raise AssertionError(str(message.error()))
            return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))
        finally:
            consumer.close()

    def wait_for(self, topic, n, timeout=30, **options):
        def enough():
            records = self.read(topic, **options)
            return records if len(records) >= n else None

        return wait_until(enough, timeout, f"{n} records in {topic}", every=0.1)
