"""What hostile clients send: HTTP/2 frames and HTTP/1 requests, octet by octet."""
import base64
import struct

import packets

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW_SIZE = 4


def framed(packet):
    """A message behind its length: TCP, DoT, DoQ."""
    return struct.pack("!H", len(packet)) + packet


def frame(kind, flags=0, stream=0, payload=b""):
    """One HTTP/2 frame (RFC 9113, 4.1)."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def ended_streams(octets):
    """How many streams end in the whole frames of `octets`, and what is behind these frames."""
    count = 0
    while len(octets) >= 9 and len(octets) >= (end := 9 + int.from_bytes(octets[:3], "big")):
        count += octets[3] == RST_STREAM or octets[3] in (DATA, HEADERS) and octets[4] & END_STREAM
        octets = octets[end:]
    return count, octets


def settings(**values):
    """A SETTINGS frame: settings(window=0)."""
    numbers = {"window": INITIAL_WINDOW_SIZE, "table": 1, "frame": 5}
    return frame(SETTINGS, payload=b"".join(struct.pack("!HI", numbers[key], value) for key, value in values.items()))


def literal(index, name, value):
    """A header field without indexing and without Huffman code (RFC 7541, 6.2.2); `index` of the static table, or 0."""
    return bytes([index]) + (b"" if index else string(name)) + string(value)


def string(text):
    return integer(len(text), 7) + text


def integer(value, bits):
    """RFC 7541, 5.1, with the upper bits 0."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = [most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def get_fields(packet, more=b""):
    """The header block of DoH's GET."""
    path = b"/dns-query?dns=" + base64.urlsafe_b64encode(packet).rstrip(b"=")
    return b"\x82\x87" + literal(4, b"", path) + literal(1, b"", b"ns1.example") + more


def get(stream, packet):
    """DoH's GET as one HEADERS frame."""
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, get_fields(packet))


def request(method, path, host="127.0.0.1", body=b"", **headers):
    """An HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def query(name="large.svc.example.", rtype="TXT"):
    return packets.query(name, rtype, packets.opt(), id=0)
