"""Messages of a vantage that lies. Their form is that of src/fleet/message."""
import os
import struct

from nats import NatsClient
from parts import NATS

UP, DOWN = 0, 1
LAST = 2**64 - 1
# The limit of a message.
MOST = 6000


def varint(n):
    octets = bytearray()
    while n > 127:
        octets.append(n & 127 | 128)
        n >>= 7
    return bytes(octets + bytes([n]))


def observation(check, base, health=UP, rtt_us=None, why=None):
    """A check that was probed just now."""
    difference = (check - base).to_bytes(8, "little").rstrip(b"\0") or b"\0"
    present = len(difference) - 1 | 16 | (8 if rtt_us else 0) | (64 if why is not None else 0)
    octets = bytes([health | 4, present]) + difference
    octets += (varint(rtt_us) if rtt_us else b"") + varint(0) + (varint(why) if why is not None else b"")
    return octets


def section(tag, content):
    return bytes([tag]) + varint(len(content)) + content


def report(boot, number, checks, **how):
    """A message whose slice has these checks (hashes) and no others, all alike."""
    texts, content, base = b"", struct.pack("<QQ", 0, LAST) + varint(len(checks)), 0
    if "why" in how:
        text = how["why"].encode()
        texts, how = section(2, varint(1) + varint(len(text)) + text), {**how, "why": 0}
    for check in sorted(checks):
        content += observation(check, base, **how)
        base = check + 1
    return b"r\x01" + struct.pack("<Q", boot) + varint(number) + texts + section(3, content)


def hashes_of(message):
    """The checks in the slice of a message."""
    at = 10
    _, at = read_varint(message, at)
    while at < len(message):
        tag, at = message[at], at + 1
        length, at = read_varint(message, at)
        if tag == 3:
            return slice_of(message[at : at + length])
        at += length
    return []


def slice_of(content):
    base, = struct.unpack_from("<Q", content)
    count, at = read_varint(content, 16)
    found = []
    for _ in range(count):
        state, present = content[at], content[at + 1]
        at += 2
        octets = (present & 7) + 1
        base += int.from_bytes(content[at : at + octets], "little")
        at += octets
        for bit in (8, 16, 32, 64):
            if present & bit and state & 3 != 3:
                _, at = read_varint(content, at)
        found.append(base)
        base += 1
    return found


def read_varint(octets, at):
    value = shift = 0
    while True:
        value |= (octets[at] & 127) << shift
        shift += 7
        at += 1
        if octets[at - 1] < 128:
            return value, at


class At:
    """What NatsClient needs of a server."""

    port = 4222


def nats_client(fleet, region, user):
    """A client of the NATS server of a region, with the password of a node."""
    with fleet.world[region.name].inside():
        return NatsClient(At, user, fleet.passwords[user], host=region.host(NATS))


class Liar:
    """Has the credentials of a vantage that was killed, and its name: with Liar(fleet, region) as liar: liar.say(health=DOWN)"""

    def __init__(self, fleet, region):
        self.fleet, self.region = fleet, region
        self.subject = f"portolan.prod.report.{region.name}.{region.vantage}"
        self.boot, self.number = int.from_bytes(os.urandom(8), "little"), 0
        with nats_client(fleet, region, region.server) as listener:
            listener.subscribe(f"portolan.prod.report.{region.name}.{region.server}")
            while True:
                _, message = listener.wait_message(f"portolan.prod.report.{region.name}.{region.server}")
                if checks := hashes_of(message):
                    break
        self.checks = checks
        self.client = nats_client(fleet, region, region.vantage)

    def say(self, checks=None, **how):
        self.number += 1
        self.client.publish(self.subject, report(self.boot, self.number, self.checks if checks is None else checks, **how))
        self.client.flush()

    def publish(self, octets, subject=None):
        self.client.publish(subject or self.subject, octets)

    def flush(self):
        self.client.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
