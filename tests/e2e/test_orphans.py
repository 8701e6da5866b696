"""The server as process 1: it waits for processes that exec programs leave behind, and the programs' exit codes are correct."""
import os
import re
import subprocess
import urllib.request

import pytest

from portolan import BINARY, MASTER, READY, SETTINGS, environment, write_files
from processes import Child, wait_until

# Leaves three orphans each time, which end after their parent: two in the process group, and one outside it.
LEAVE = r"""#!/bin/sh
for n in 1 2; do /bin/sh -c '/bin/sh -c "exit 0" & exit 0' & done
/usr/bin/setsid /bin/sh -c '/bin/sleep 0.05 & exit 0' < /dev/null > /dev/null 2>&1 &
exit $1
"""

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"
"""

MONITOR = """
[monitor.code{code}]
type = "exec"
program = "{program}"
args = ["{code}"]
interval = "50ms"
timeout = "5s"
damping = false

[endpoint.e{code}]
addresses = ["192.0.2.{nth}"]
monitor = "code{code}"
"""

TAIL = """
[pool.web]
members = ["e0", "e3", "e7"]
steer = "all"

[name.www]
pool = "web"
"""


def can_be_first():
    try:
        return subprocess.run(["unshare", "-pf", "--mount-proc", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def processes_of(child):
    """The namespace whose process 1 is below `child`: the pid of that process here, and the states of all its processes."""
    first = int(open(f"/proc/{child.pid}/task/{child.pid}/children").read().split()[0])
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    states = []
    for id in filter(str.isdigit, os.listdir("/proc")):
        try:
            # A zombie shows no namespace; the one of its parent is used.
            stat = open(f"/proc/{id}/stat").read().rpartition(")")[2].split()
            if int(stat[1]) == first or os.readlink(f"/proc/{id}/ns/pid") == namespace:
                states.append(stat[0])
        except OSError:
            pass
    return states


@pytest.mark.skipif(not can_be_first(), reason="needs a process namespace of its own: run as root")
def test_no_zombies_pile_up_where_the_server_is_process_1(dir):
    program = dir / "leave"
    program.write_text(LEAVE)
    program.chmod(0o755)
    policy = POLICY
    for nth, code in enumerate((0, 3, 7)):
        policy += MONITOR.format(code=code, nth=nth + 1, program=program)
    settings = write_files(dir / "node", SETTINGS, {"svc.example.policy.toml": policy + TAIL, "svc.example.zone": MASTER})
    child = Child(
        ["unshare", "-pf", "--mount-proc", "--kill-child", BINARY, "serve", "--config", settings], dir / "node", "first",
        env=environment(),
    )
    try:
        url = "http://" + child.wait_line(READY, 30)[2]

        def get(path):
            with urllib.request.urlopen(url + path, timeout=10) as reply:
                return reply.read().decode()

        def probes():
            found = re.findall(r'^portolan_probes_total\{[^}]*kind="exec"[^}]*\} (\d+)', get("/metrics"), re.MULTILINE)
            return sum(map(int, found))

        wait_until(lambda: probes() >= 150, 60)
        # Some may have ended just now; their number must not grow.
        wait_until(lambda: processes_of(child).count("Z") < 30, 10)
        status = get("/v1/status")
        assert '"health":"up"' in status.replace(" ", ""), status
        for code in (3, 7):
            assert f"exit code {code}" in status, status
        assert "cannot run" not in status, "no exit code of ours was taken away"
    finally:
        child.end()
