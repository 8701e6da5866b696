"""A system that gives the server no more threads: an error of the start, and nothing for a server that runs."""
import os
import resource
import signal
import subprocess
import sys

import pytest
from portolan import SETTINGS, Node, command, files, write_files
from processes import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without other processes")

# A user that runs nothing else: the limit of its processes is that of the server's threads.
USER = 61234
RUN = SETTINGS + f'\n[run]\nuser = "{USER}"\n'
TOKEN = "0123456789abcdef0123456789abcdef"

POLICY = """
zone = "svc.example."
[monitor.ids]
type = "exec"
program = "/bin/true"
interval = "200ms"
[endpoint.a]
addresses = ["127.0.0.1"]
[endpoint.b]
addresses = ["127.0.0.2"]
monitor = "ids"
[pool.web]
members = ["a"]
[name.www]
pool = "web"
ttl = "5s"
"""


# More than a server needs on any machine of ours.
MOST = 300
FILLER = f"""
import os, threading, time
os.setgroups([])
os.setresgid({USER}, {USER}, {USER})
os.setresuid({USER}, {USER}, {USER})
for _ in range({MOST}):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("full", flush=True)
time.sleep(600)
"""


def limited(most):
    """What a process calls that may have so many threads and processes of its user."""
    return lambda: resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


class Full:
    """with Full(): other processes of the user take all that its limit allows."""

    def __enter__(self):
        argv = [sys.executable, "-I", "-S", "-c", FILLER]
        self.filler = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.filler.stdout.readline() == "full\n"
        return self

    def __exit__(self, *_):
        self.filler.kill()
        self.filler.wait()


def test_a_server_goes_on_when_the_system_gives_no_more_threads(dir):
    (dir / "node").mkdir()
    tokens = dir / "node/tokens"
    tokens.write_text(f"alice operate {TOKEN}\n")
    tokens.chmod(0o600)
    os.chown(tokens, USER, USER)
    with Node(dir, zones=files(POLICY), settings=RUN, before_exec=limited(MOST)) as node, Full():
        # No new thread and no program from now on.
        wait_until(lambda: "cannot run /bin/true" in node.command("status").stdout, 20)
        for ttl in range(6, 9):
            node.write("svc.example.policy.toml", POLICY.replace("5s", f"{ttl}s"))
            wait_until(lambda: node.ask("www.svc.example.").answer[0].ttl == ttl, 20)
            assert node.command("reload").returncode == 0
        node.hup()
        assert node.command("explain", "www.svc.example").returncode == 0
        assert node.json("/v1/names")
        assert node.metric("portolan_last_reload_ok") == 1
        done = node.command("drain", "a", "--why", "test", "--yes", env={"PORTOLAN_TOKEN": TOKEN})
        assert done.returncode == 0 and "not yet on disk" not in done.stdout, done
        wait_until(lambda: (node.dir / "state/zones/svc.example.json").exists(), 20)
        assert "panicked" not in node.child.err()
        node.child.signal(signal.SIGTERM)
        assert node.child.wait(30) == 0
    with Node(dir, zones=files(POLICY), settings=RUN) as node:
        assert "drained" in node.command("status").stdout


@pytest.mark.parametrize("most", [1, 3, 8, 14])
def test_too_few_threads_are_an_error_of_the_start(dir, most):
    settings = write_files(dir / "node", RUN, files(POLICY))
    ended = command("serve", "--config", settings, before_exec=limited(most))
    assert ended.returncode == 1, ended
    last = ended.stderr.strip().splitlines()[-1]
    assert "no more threads" in last and "pids.max" in last and "panicked" not in ended.stderr, ended.stderr
