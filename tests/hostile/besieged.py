"""The server that is attacked: it listens on every transport, and probes endpoints of which one can be killed."""
import contextlib
import json
import time

from herd import Herd
from limits import Noise
from portolan import Node, answers, command
from processes import wait_until
from steady import Steady, last_naming, stall
from test_encrypted import ENCRYPTED, new_certificate

OPERATOR, READER = "o" * 32, "r" * 32
TOKENS = f"alice operate {OPERATOR}\nbob read {READER}\n"

MASTER = """
$TTL 3600
@       IN SOA ns1 hostmaster 1 7200 900 1209600 30
@       IN NS  ns1
ns1     IN A   127.0.0.1
static  IN A   192.0.2.77
""" + "".join(f'large   IN TXT "{n:0250}"\n' for n in range(230))

SPARE = "192.0.2.250"


def settings(more=""):
    state = '\n[api]\ntoken_file = "tokens"\n\n[state]\ndir = "state"\n'
    return ENCRYPTED + state + more


def policy(at, count=0, monitor='type = "http"\n'):
    """Names wN, each with the endpoint eN while it is up; `www` has a static spare. `count` more endpoints are never probed."""
    text = f'zone = "svc.example."\n\n[monitor.web]\n{monitor}\n[endpoint.spare]\naddresses = ["{SPARE}"]\n'
    for nth, probe in enumerate(at):
        text += f'[endpoint.e{nth}]\naddresses = ["198.51.100.{nth + 1}"]\nprobe = "{probe}"\nmonitor = "web"\n'
        text += f'[pool.p{nth}]\nsteer = "failover"\nmembers = ["e{nth}", "spare"]\n[name.w{nth}]\npool = "p{nth}"\n'
    text += '[name.www]\npool = "spare"\n'
    for first in range(0, count, 100):
        members = [f"m{nth}" for nth in range(first, first + 100)]
        for nth, member in enumerate(members, first):
            text += f'[endpoint.{member}]\naddresses = ["10.{nth >> 16}.{nth >> 8 & 255}.{nth & 255}"]\n'
        text += f"[pool.many{first}]\nmembers = {json.dumps(members)}\n[name.many{first}]\npool = \"many{first}\"\n"
    return text


@contextlib.contextmanager
def besieged(dir, endpoints=6, count=0, more="", **how):
    """A node, and the herd of its endpoints."""
    new_certificate(dir / "node")
    tokens = dir / "node" / "tokens"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    with Herd(dir, *["127.0.0.1:0"] * endpoints) as herd:
        zones = {"svc.example.policy.toml": policy(herd.at, count), "svc.example.zone": MASTER}
        with Node(dir, zones, settings=settings(more), **how) as node:
            yield node, herd


def address_of(node, transport):
    """Where the node listens: "dns", "http", or a transport of `Node.encrypted`."""
    match transport:
        case "dns":
            return node.udp
        case "http":
            return node.http
        case _:
            return node.encrypted[transport][0]


class Failover:
    """with Failover(dir, node, herd) as failover: failover.kill(0)"""

    def __init__(self, dir, node, herd):
        self.dir, self.node, self.herd = dir, node, herd

    def seconds(self, nth, bound=10.0):
        """Kills an endpoint; the seconds to the last answer that names it, and how long the machine itself held up a client."""
        address = f"198.51.100.{nth + 1}"
        name = f"w{nth}.svc.example."
        wait_until(lambda: answers(self.node.ask(name)) == [address], 20)
        with Steady(self.dir, self.node.udp, name, per_second=100, tag=f"steady-{nth}") as client:
            began = time.time()
            self.herd.kill(nth)
            client.wait_for(lambda reply: reply.answers == [SPARE], bound, since=began)
            time.sleep(0.3)
            replies = client.finish()
        took = last_naming(replies, address, began)
        return took, stall(replies, began, began + took)


def hold_failover(figure, node, herd, dir, nth=0, bound=1.2):
    """A killed endpoint is out of the answers in time."""
    noise = Noise()
    took, held = Failover(dir, node, herd).seconds(nth)
    factor = noise.factor()
    figure(f"noise {factor:.1f}, killed endpoint last named after", took, "s", bound=bound)
    assert took <= factor * bound + 2 * held, f"{took:.3f} s, noise {factor:.1f}, the machine held up a client for {held:.3f} s"


def hold_drain(figure, node, nth, bound=5.0):
    """An operator's command is executed in time."""
    noise, began = Noise(), time.monotonic()
    operator = dict(env={"PORTOLAN_TOKEN": OPERATOR}, bound=30)
    done = command("drain", f"e{nth}", "--why", "a test", "--yes", "--server", node.url, **operator)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: answers(node.ask(f"w{nth}.svc.example.")) == [SPARE], 10)
    took, factor = time.monotonic() - began, noise.factor()
    figure(f"noise {factor:.1f}, drain took", took, "s", bound=bound)
    assert took <= factor * bound, took


def assert_alive(node):
    assert node.child.is_running(), node.child.output()
    assert "panic" not in node.child.err().lower(), node.child.output()
