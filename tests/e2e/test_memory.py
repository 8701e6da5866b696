"""Memory is given back after reloads."""
import re
from pathlib import Path

from portolan import MASTER, SETTINGS, Node
from processes import wait_until

ZONES, ENDPOINTS, RELOADS = 10, 300, 15
TOKEN = "0123456789abcdef0123456789abcdef"


def policy(zone, ttl):
    parts = [f'zone = "z{zone}.example."\n']
    for n in range(ENDPOINTS):
        parts.append(f'[endpoint.e{n}]\naddresses = ["10.{zone}.{n // 250}.{n % 250 + 1}"]\n')
    for pool in range(ENDPOINTS // 10):
        members = [f"e{pool * 10 + n}" for n in range(10)]
        parts.append(f'[pool.p{pool}]\nmembers = {members}\n[name.n{pool}]\npool = "p{pool}"\nttl = "{ttl}s"\n')
    return "".join(parts)


def resident(pid):
    """MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_memory_is_given_back_after_reloads(dir, figure):
    (dir / "node").mkdir()
    tokens = dir / "node/tokens"
    tokens.write_text(f"alice operate {TOKEN}\n")
    tokens.chmod(0o600)
    zones = {f"z{zone}.example.zone": MASTER for zone in range(ZONES)}
    zones |= {f"z{zone}.example.policy.toml": policy(zone, 5) for zone in range(ZONES)}
    with Node(dir, zones, settings=SETTINGS, bound=60) as node:
        started = resident(node.child.pid)
        for number in range(RELOADS):
            for zone in range(ZONES):
                node.write(f"z{zone}.example.policy.toml", policy(zone, 6 + number))
            done = node.command("reload", env={"PORTOLAN_TOKEN": TOKEN})
            assert done.returncode == 0, done
        # Unused pages are given back after a second. The two generations of a reload are there for a moment only: 60
        # reloads stay at about twice the start. With an arena for each thread they reach four times.
        bound = 2.5 * started
        wait_until(lambda: resident(node.child.pid) < bound, 20, step=0.2)
        figure(f"resident after {RELOADS} reloads", resident(node.child.pid), "MiB", bound)
        figure("resident after the start", started, "MiB")
