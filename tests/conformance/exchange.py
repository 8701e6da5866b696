"""Sends many queries to a server, a window of them at a time, and returns the replies in the order of the queries."""
import select
import socket
import time

# The number of outstanding queries: they fit into the socket buffer of every server.
WINDOW = 64
# A reply over loopback that takes this long was lost.
LOST_SECONDS = 2.0
ATTEMPTS = 4


def ask_all(address, questions):
    """Over UDP: a list of replies (bytes), with None for a query without a reply after some attempts."""
    replies, waiting, following = [None] * len(questions), {}, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.connect(address)
        udp.setblocking(False)
        while following < len(questions) or waiting:
            while following < len(questions) and len(waiting) < WINDOW:
                waiting[following & 0xFFFF] = [following, time.monotonic(), 1]
                udp.send(questions[following].packet(following & 0xFFFF))
                following += 1
            select.select([udp], [], [], 0.2)
            _receive(udp, replies, waiting)
            _send_again(udp, questions, waiting)
    return replies


def _receive(udp, replies, waiting):
    while True:
        try:
            packet = udp.recv(65535)
        except OSError:
            return
        found = waiting.pop(int.from_bytes(packet[:2]), None)
        if found:
            replies[found[0]] = packet


def _send_again(udp, questions, waiting):
    now = time.monotonic()
    for id, entry in list(waiting.items()):
        index, sent, attempts = entry
        if now - sent < LOST_SECONDS:
            continue
        if attempts == ATTEMPTS:
            del waiting[id]
            continue
        entry[1:] = now, attempts + 1
        udp.send(questions[index].packet(id))


def ask_tcp(address, questions):
    """Over one TCP connection, one query after the other, because pipelining is not compared here."""
    replies = []
    with socket.create_connection(address, timeout=10) as tcp, tcp.makefile("rb") as stream:
        for id, question in enumerate(questions):
            packet = question.packet(id & 0xFFFF)
            tcp.sendall(len(packet).to_bytes(2) + packet)
            length = stream.read(2)
            replies.append(stream.read(int.from_bytes(length)) if len(length) == 2 else None)
            if replies[-1] is None:
                break
    return replies + [None] * (len(questions) - len(replies))
