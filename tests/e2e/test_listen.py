"""A node that can't listen reports the key, the address and the cause. An address may name its interface."""
import shutil
import socket
from pathlib import Path

import pytest

from portolan import MASTER, SETTINGS, Node, command, write_files
from test_encrypted import new_certificate

ZONES = {"svc.example.zone": MASTER}
TLS = '\n[tls]\ncert = "cert.pem"\nkey = "key.pem"\n'


def settings_with(key, value):
    lines = [line for line in SETTINGS.splitlines() if not line.startswith(f"{key} =")]
    at = lines.index("[listen]") + 1
    return "\n".join([*lines[:at], f"{key} = {value}", *lines[at:]]) + "\n"


def serve(dir, key, value):
    settings = settings_with(key, value)
    if key in ("tls", "https", "quic"):
        if not shutil.which("openssl"):
            pytest.skip("needs openssl")
        settings += TLS
        new_certificate(dir)
    message = command("serve", "--config", write_files(dir, settings, ZONES))
    assert message.returncode == 1 and message.stdout == "", message.stdout
    return message.stderr


@pytest.mark.parametrize("key", ["dns", "http", "tls", "https", "quic"])
def test_a_listener_names_its_key_its_address_and_the_cause(dir, key):
    kind = socket.SOCK_DGRAM if key in ("dns", "quic") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        message = serve(dir / "taken", key, f'"{address}"' if key == "http" else f'["{address}"]')
        assert f"listen.{key}: cannot listen on {address}: " in message and "in use" in message, message
    # TEST-NET-1 (RFC 5737) is on no interface.
    message = serve(dir / "elsewhere", key, '"192.0.2.1:0"' if key == "http" else '["192.0.2.1:0"]')
    assert f"listen.{key}: cannot listen on 192.0.2.1:0: no interface of this machine has the address" in message, message


@pytest.mark.parametrize("key", ["dns", "http"])
def test_a_link_local_address_needs_its_interface(dir, key):
    message = serve(dir / "node", key, '"[fe80::dead:beef]:0"' if key == "http" else '["[fe80::dead:beef]:0"]')
    assert "link-local" in message and 'write "[fe80::dead:beef%' in message and "Invalid argument" not in message, message


def test_an_address_may_name_its_interface(dir):
    table = Path("/proc/net/if_inet6")
    if not table.exists() or "00000000000000000000000000000001" not in table.read_text():
        pytest.skip("needs an IPv6 loopback address")
    with Node(dir, ZONES, settings_with("dns", '["[::1%lo]:0"]')) as node:
        assert node.udp[0] == "::1"
        assert node.addresses("ns1.svc.example.") == ["127.0.0.1"]
