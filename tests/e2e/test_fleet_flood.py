"""A vantage that floods its own subject, the one thing that its credentials allow, takes nothing from the others."""
import threading
import time

from fleet import VantageNode, wait_verdicts
from nats import NatsClient, NatsServer
from processes import wait_until
from test_fleet import server, zone

SUBJECT = "portolan.prod.report.us-east.evil"


class Flood:
    """Messages of one octet as fast as the NATS server takes them, for 90 s at most."""

    def __init__(self, nats):
        self.client, self.stop = NatsClient(nats), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        burst = f"PUB {SUBJECT} 1\r\nx\r\n".encode() * 20_000
        end = time.monotonic() + 90
        while not self.stop.is_set() and time.monotonic() < end:
            self.client.socket.sendall(burst)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.client.close()


def test_a_vantage_that_floods_is_not_read_and_the_others_are(dir, endpoints):
    fra1, fra2 = endpoints("fra1"), endpoints("fra2")
    with NatsServer(dir) as nats, server(dir, nats, files=zone(fra1, fra2)) as ns1, VantageNode(dir, nats.url, "nyc1", "us-east"):
        both = {"ns1": "up", "nyc1": "up"}
        wait_verdicts(ns1, "fra1", both)
        reports = lambda: ns1.count("portolan_fleet_reports_total", vantage="nyc1")
        with Flood(nats) as flood:
            wait_until(lambda: "a flood of reports" in ns1.child.err(), 30)
            before = reports()
            wait_until(lambda: reports() >= before + 5, 75)
            assert flood.thread.is_alive(), "the flood goes on"
            wait_verdicts(ns1, "fra1", both)
            assert ns1.addresses("www.svc.example.") == [fra1.host]
        assert "can't be read" not in ns1.child.err()
