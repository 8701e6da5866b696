"""A path that loses a fifth of the packets and has a delay of 50 ms +- 30 ms in each direction is no outage. No monitor goes
down with its defaults; those of TLS and gRPC have a timeout of 1 s. The test takes a minute, or PORTOLAN_LOSS_SECONDS."""
import os
import signal
import sys
import time

import pytest

import servers
from portolan import MASTER, SETTINGS, Node
from processes import Child, wait_until
from servers import HERE, HOST, Certificates, program
from world import World

SECONDS = int(os.environ.get("PORTOLAN_LOSS_SECONDS", "60"))
KINDS = {
    "icmp": "",
    "tcp": "port = 80",
    "http": "port = 80",
    # These need more packets or round trips of 100 ms than fit into the default timeout on such a path.
    "https": f'port = 443\nhost = "{HOST}"\ntimeout = "1s"',
    "tls": f'port = 443\nhost = "{HOST}"\ntimeout = "1s"',
    "grpc": f'port = {servers.GRPC}\ntimeout = "1s"',
    "dns": 'port = 53\nname = "www.far.example."',
}

NGINX = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    server {{
        listen {host}:80;
        listen {host}:443 ssl;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        location / {{ return 200 "ok"; }}
    }}
}}
"""

FAR = """
zone = "far.example."
[endpoint.here]
addresses = ["192.0.2.1"]
region = "eu-west"
[pool.every]
members = ["here"]
[name.www]
pool = "every"
"""


def policy(host):
    lines = ['zone = "svc.example."']
    for kind, keys in KINDS.items():
        lines += [f'[monitor.{kind}]\ntype = "{kind}"\n{keys}']
        lines += [f'[endpoint.{kind}1]\naddresses = ["{host}"]\nmonitor = "{kind}"']
    members = ", ".join(f'"{kind}1"' for kind in KINDS)
    return "\n".join([*lines, f"[pool.every]\nmembers = [{members}]", '[name.www]\npool = "every"'])


@pytest.mark.places
@pytest.mark.skipif(program("nginx") is None, reason="needs nginx")
def test_loss_and_jitter_are_no_outage(dir, figure):
    signal.alarm(SECONDS + 120)
    certificates = Certificates(dir)
    with World("node", "far") as world:
        place, host = world["far"], world["far"].host(10)
        conf = dir / "nginx.conf"
        conf.write_text(NGINX.format(dir=dir, host=host, pem=certificates.good))
        nginx = Child([program("nginx"), "-e", "stderr", "-p", dir, "-c", conf], dir, "nginx", place=place)
        health = Child([sys.executable, HERE / "health_server.py", certificates.good, certificates.good, host], dir, "health", place=place)
        try:
            health.wait_line("^ready$", 30)
            far = {"far.example.policy.toml": FAR, "far.example.zone": MASTER}
            files = {"svc.example.policy.toml": policy(host), "svc.example.zone": MASTER}
            settings = SETTINGS.replace('dns = ["127.0.0.1:0"]', f'dns = ["{host}:53"]')
            trust = {"SSL_CERT_FILE": str(certificates.ca)}
            world.set("node", "far", delay=0.05, jitter=0.03)
            with Node(dir, far, settings, place=place, name="far"), Node(dir, files, place=world["node"], env=trust) as node:
                ups = {f"{kind}1": "up" for kind in KINDS}
                wait_until(lambda: {name: node.health(name) for name in ups} == ups, 20)
                world.set("node", "far", delay=0.05, jitter=0.03, loss=0.2)
                until = time.monotonic() + SECONDS
                while time.monotonic() < until:
                    time.sleep(1)
                    downs = {name: node.metric("portolan_transitions_total", endpoint=name, to="down") for name in ups}
                    assert set(downs.values()) == {0}, node.json("/v1/transitions")
                for kind in KINDS:
                    failed = node.metric("portolan_probes_total", kind=kind, result="failure") or 0
                    figure(f"{kind} probes that failed", 100 * failed / node.metric("portolan_probes_total", kind=kind), "%")
        finally:
            nginx.end()
            health.end()
