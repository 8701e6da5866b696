"""What the process may do after its start: its user, its capabilities, those of the programs of exec monitors."""
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from portolan import BINARY, SETTINGS, Node, command, environment, files, write_files
from processes import Child, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = pwd.getpwnam("nobody")
# Linux numbers: cap_net_bind_service 10, cap_net_raw 13.
KEPT = 1 << 10 | 1 << 13
TOKEN = "0123456789abcdef0123456789abcdef"

POLICY = """
zone = "svc.example."
[endpoint.a]
addresses = ["127.0.0.1"]
[pool.web]
members = ["a"]
[name.www]
pool = "web"
ttl = "5s"
"""

EXEC = POLICY + """
[monitor.ids]
type = "exec"
program = "{program}"
interval = "1s"
[endpoint.b]
addresses = ["127.0.0.1"]
monitor = "ids"
"""


def rights(pid):
    """The ids and capabilities of each thread: {name of the field: set of its values}."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"):
                found.setdefault(key, set()).add(value.strip())
    return found


def assert_rights(pid, uid):
    """Every thread has this user, at most two capabilities, and no way to more."""
    have = rights(pid)
    assert have["Uid"] == {"\t".join([str(uid)] * 4)}, have
    for key in ("CapPrm", "CapEff"):
        assert all(int(value, 16) & ~KEPT == 0 for value in have[key]), have
    for key in ("CapInh", "CapAmb", "CapBnd"):
        assert {int(value, 16) for value in have[key]} == {0}, have
    assert have["NoNewPrivs"] == {"1"}, have
    return have


def own(path, user):
    """Gives a file or a directory with all that is in it to a user."""
    subprocess.run(["chown", "-R", user, str(path)], check=True)


def refused(dir, settings, policy=POLICY):
    """The last line on standard error of a server that does not start."""
    settings = write_files(dir, settings, files(policy))
    ended = command("serve", "--config", settings)
    assert ended.returncode == 1, ended
    return ended.stderr.strip().splitlines()[-1]


def test_root_becomes_nobody_and_still_reloads_and_saves(dir):
    with Node(dir, zones=files(POLICY)) as node:
        have = assert_rights(node.child.pid, NOBODY.pw_uid)
        assert have["Gid"] == {"\t".join([str(NOBODY.pw_gid)] * 4)} and have["Groups"] == {str(NOBODY.pw_gid)}, have
        assert int(have["CapEff"].pop(), 16) == KEPT
        line = "runs as nobody (uid 65534), with cap_net_bind_service and cap_net_raw"
        assert line in node.child.err()
        assert (node.dir / "state").stat().st_uid == NOBODY.pw_uid
        node.write("svc.example.policy.toml", POLICY.replace("5s", "7s"))
        assert "generation" in node.command("reload").stdout
        assert node.ask("www.svc.example.").answer[0].ttl == 7
        wait_until(lambda: (node.dir / "state/zones/svc.example.json").exists(), 15)
        assert (node.dir / "state/zones/svc.example.json").stat().st_uid == NOBODY.pw_uid
    # The second start finds a state directory of nobody.
    with Node(dir, zones=files(POLICY)) as node:
        assert_rights(node.child.pid, NOBODY.pw_uid)
        assert "can't" not in node.child.err()


def test_an_override_outlives_a_restart_as_another_user(dir):
    (dir / "node").mkdir()
    tokens = dir / "node/tokens"
    tokens.write_text(f"alice operate {TOKEN}\n")
    tokens.chmod(0o600)
    own(tokens, "nobody")
    for is_first in (True, False):
        with Node(dir, zones=files(POLICY)) as node:
            assert_rights(node.child.pid, NOBODY.pw_uid)
            if is_first:
                done = node.command("drain", "a", "--why", "rack move", env={"PORTOLAN_TOKEN": TOKEN})
                assert done.returncode == 0, done
            assert "rack move" in node.command("status").stdout


def test_the_owner_of_the_state_directory_is_the_user(dir):
    state = dir / "state"
    state.mkdir(mode=0o750)
    own(state, "5353:5353")
    with Node(dir, zones=files(POLICY), settings=SETTINGS + f'\n[state]\ndir = "{state}"\n') as node:
        have = assert_rights(node.child.pid, 5353)
        assert have["Gid"] == {"\t".join(["5353"] * 4)}, have
        assert (state / "lock").stat().st_uid == 5353


def test_programs_have_no_capability(dir):
    program = dir / "ids"
    program.write_text(f"#!/bin/sh\ncat /proc/self/status >>{dir}/found/$(id -u)\n")
    program.chmod(0o755)
    (dir / "found").mkdir()
    (dir / "found").chmod(0o777)
    zones = files(EXEC.replace("{program}", str(program)))
    for uid, settings in ((NOBODY.pw_uid, SETTINGS), (0, SETTINGS + '\n[run]\nuser = "root"\n')):
        with Node(dir, zones, settings=settings, name=f"node{uid}"):
            found = (dir / f"found/{uid}").read_text()
        for part in (f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"):
            assert part in found, found
        for line in found.splitlines():
            if line.startswith("Cap"):
                assert int(line.split()[1], 16) == 0, found


def test_without_a_right_to_a_file_it_stays_root_without_capabilities(dir):
    (dir / "node").mkdir()
    tokens = dir / "node/tokens"
    tokens.write_text(f"alice operate {TOKEN}\n")
    tokens.chmod(0o600)
    with Node(dir, zones=files(POLICY)) as node:
        assert_rights(node.child.pid, 0)
        warning = next(line for line in node.child.err().splitlines() if "runs as root" in line)
        assert f"the user nobody can't read {tokens}" in warning and '[run] user = "root"' in warning, warning
        assert node.command("drain", "a", "--why", "test", env={"PORTOLAN_TOKEN": TOKEN}).returncode == 0


def test_in_a_directory_that_only_root_can_enter_it_stays_root(dir):
    dir.chmod(0o700)
    with Node(dir, zones=files(POLICY)) as node:
        assert_rights(node.child.pid, 0)
        assert f"because it can't enter {dir}: `chmod a+x {dir}`" in node.child.err()
        node.write("svc.example.policy.toml", POLICY.replace("5s", "7s"))
        assert node.command("reload").returncode == 0
        assert (node.dir / "state").stat().st_uid == 0


def test_root_writes_the_state_of_a_server_that_was_another_user_without_a_third_capability(dir):
    """Tokens that only root can read, next to the state of nobody."""
    with Node(dir, zones=files(POLICY)) as node:
        wait_until(lambda: (node.dir / "state/zones/svc.example.json").exists(), 15)
    state, tokens = node.dir / "state", node.dir / "tokens"
    tokens.write_text(f"alice operate {TOKEN}\n")
    tokens.chmod(0o600)
    with Node(dir, zones=files(POLICY.replace("5s", "6s"))) as node:
        assert_rights(node.child.pid, 0)
        assert "cap_dac_override" not in node.child.err()
        assert node.command("drain", "a", "--why", "test", env={"PORTOLAN_TOKEN": TOKEN}).returncode == 0
        wait_until(lambda: "6s" in "".join(f.read_text() for f in (state / "zones").glob("*@*/*.toml")), 15)
        assert "unsaved" not in node.status()
    assert state.stat().st_uid == NOBODY.pw_uid, "it stays the user's"
    # One command later root is not needed any more: what root wrote hinders nobody.
    own(tokens, "nobody")
    with Node(dir, zones=files(POLICY)) as node:
        assert_rights(node.child.pid, NOBODY.pw_uid)
        assert "drain" in node.command("status").stdout
        assert node.command("clear", "a", env={"PORTOLAN_TOKEN": TOKEN}).returncode == 0
        wait_until(lambda: "5s" in "".join(f.read_text() for f in (state / "zones").glob("*@*/*.toml")), 15)


def test_the_state_of_a_server_that_was_root_passes_to_the_user(dir):
    """Whichever files and folders it has left."""
    for user in ("nobody", "5353"):
        with Node(dir, zones=files(POLICY), settings=SETTINGS + '\n[run]\nuser = "root"\n', name=user) as node:
            wait_until(lambda: (node.dir / "state/zones/svc.example.json").exists(), 15)
        state = node.dir / "state"
        own(state, "root:root")
        with Node(dir, zones=files(POLICY), settings=SETTINGS + f'\n[run]\nuser = "{user}"\n', name=user) as node:
            uid = NOBODY.pw_uid if user == "nobody" else int(user)
            assert_rights(node.child.pid, uid)
            assert {path.stat().st_uid for path in [state, *state.rglob("*")]} == {uid}
            assert "unsaved" not in node.status()


def test_a_directory_that_is_also_for_other_things_is_not_given(dir):
    state = dir / "lib"
    state.mkdir(mode=0o755)
    (state / "other").mkdir()
    settings = SETTINGS + f'\n[state]\ndir = "{state}"\n'
    with Node(dir, zones=files(POLICY), settings=settings) as node:
        assert_rights(node.child.pid, 0)
        assert f"the user nobody can't write {state}: `chown -R nobody {state}`" in node.child.err()
    assert state.stat().st_uid == 0 and (state / "other").stat().st_uid == 0


def test_in_the_home_of_a_user_it_becomes_that_user(dir):
    """`sudo portolan serve` in a directory that only its owner can enter."""
    home = dir / "home"
    (home / "node").mkdir(parents=True)
    write_files(home / "node", SETTINGS, files(POLICY))
    own(home, "5353:5353")
    home.chmod(0o700)
    settings = home / "node/portolan.toml"
    child = Child([BINARY, "serve", "--config", settings], dir, "serve", env=environment())
    try:
        child.wait_line("^ready ", 30)
        assert_rights(child.pid, 5353)
        assert f"because it can't enter {home}: `chmod a+x {home}`" in child.err() and "the owner of the zones" in child.err()
        assert (home / "node/state").stat().st_uid == 5353
        policy = home / "node/zones/svc.example.policy.toml"
        policy.write_text(POLICY.replace("5s", "7s"))
        wait_until(lambda: "a new generation is served" in child.err(), 20)
    finally:
        child.end()


def test_where_no_user_can_use_all_files_it_is_the_default_user_and_names_them(dir):
    (dir / "node").mkdir()
    tokens, key = dir / "node/tokens", dir / "secret.key"
    tokens.write_text(f"alice operate {TOKEN}\n")
    key.write_text("0123456789abcdef0123456789abcdef\n")
    for path, user in ((tokens, "5353"), (key, "5454")):
        own(path, user)
        path.chmod(0o600)
    settings = SETTINGS + f'\n[cookies]\nsecret_file = "{key}"\n'
    with Node(dir, zones=files(POLICY), settings=settings) as node:
        assert_rights(node.child.pid, NOBODY.pw_uid)
        warning = next(line for line in node.child.err().splitlines() if "runs as nobody" in line)
        assert "WARN" in warning and str(tokens) in warning and str(key) in warning, warning
        assert "`chown nobody " in warning and "will fail" in warning, warning
        # What was read at the start is in force, and other files are still loaded.
        assert node.command("drain", "a", "--why", "test", env={"PORTOLAN_TOKEN": TOKEN}).returncode == 0
        node.write("svc.example.policy.toml", POLICY.replace("5s", "7s"))
        wait_until(lambda: node.ask("www.svc.example.").answer[0].ttl == 7, 15)


def test_secrets_of_sinks_and_sources_are_named_with_the_other_files(dir):
    zones = dir / "node/zones"
    zones.mkdir(parents=True)
    secrets = {name: zones / name for name in ("webhook.secret", "token", "password", "client.key", "client.pem")}
    for path in secrets.values():
        path.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
        path.chmod(0o600)
    own(secrets["token"], "5454")
    policy = POLICY + f'''
[discover.http]
type = "http"
url = "https://127.0.0.1:1/"
pool = "web"
token_file = "token"
tls = {{ cert = "client.pem", key = "client.key" }}
[discover.etcd]
type = "etcd"
endpoints = ["http://127.0.0.1:1"]
overrides = "/{{target}}"
user = "portolan"
password_file = "password"
'''
    sink = f'[sink.audit]\ntype = "webhook"\nurl = "http://127.0.0.1:1/"\nsecret_file = "{secrets["webhook.secret"]}"\n'
    with Node(dir, zones=files(policy), settings=SETTINGS + sink) as node:
        warning = next(line for line in node.child.err().splitlines() if "runs as " in line)
        assert "WARN" in warning, warning
        assert all(str(path) in warning for path in secrets.values()), warning


def test_the_authorities_of_the_system_are_not_given_away(dir):
    store = dir / "ca.pem"
    store.write_text("")
    store.chmod(0o600)
    with Node(dir, zones=files(POLICY), env={"SSL_CERT_FILE": str(store)}) as node:
        assert_rights(node.child.pid, 0)
        warning = next(line for line in node.child.err().splitlines() if "runs as root" in line)
        assert f"can't read the certificate authorities {store}" in warning and "chown" not in warning, warning


def test_a_token_file_that_the_server_cannot_read_is_named_in_the_refusal(dir):
    with Node(dir, zones=files(POLICY)) as node:
        assert_rights(node.child.pid, NOBODY.pw_uid)
        tokens = node.dir / "tokens"
        drain = lambda: node.command("drain", "a", "--why", "test", "--for", "1h", env={"PORTOLAN_TOKEN": TOKEN})
        write_secret(tokens, f"alice operate {TOKEN}\n")
        assert node.command("reload").returncode == 1
        done = drain()
        assert done.returncode == 1 and "no token is known" in done.stderr, done
        assert f"can't read {tokens}" in done.stderr and f"uid {NOBODY.pw_uid}" in done.stderr, done
        own(tokens, "nobody")
        assert node.command("reload").returncode == 0 and drain().returncode == 0
        # An editor that replaces the file makes it root's again.
        write_secret(tokens, f"bob operate {TOKEN[::-1]}\n")
        assert node.command("reload").returncode == 1
        done = node.command("clear", "a", env={"PORTOLAN_TOKEN": TOKEN[::-1]})
        assert done.returncode == 1 and "not in the token file" in done.stderr, done
        assert f"can't read {tokens}" in done.stderr, done


def write_secret(path, text):
    """Replaces a file by one that only root can read."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)


def test_other_files_and_files_of_root_in_the_state_directory_are_no_reason_to_stay_root(dir):
    for settings in (SETTINGS, SETTINGS + '\n[run]\nuser = "nobody"\n'):
        with Node(dir, zones=files(POLICY), settings=settings) as node:
            assert_rights(node.child.pid, NOBODY.pw_uid)
        state, secret = node.dir / "state", dir / "secret"
        for path in (state / "x", state / "health.json", secret):
            path.touch()
            own(path, "root")
            path.chmod(0o600)
        (state / "link").unlink(missing_ok=True)
        (state / "link").symlink_to(secret)
        with Node(dir, zones=files(POLICY), settings=settings) as node:
            assert_rights(node.child.pid, NOBODY.pw_uid)
            assert "runs as root" not in node.child.err()


def test_the_settings_can_say_root(dir):
    with Node(dir, zones=files(POLICY), settings=SETTINGS + '\n[run]\nuser = "root"\n') as node:
        assert_rights(node.child.pid, 0)
        assert "runs as root, with cap_net_bind_service and cap_net_raw" in node.child.err()


def test_a_user_of_the_settings_must_have_its_rights(dir):
    settings = SETTINGS + '\n[run]\nuser = "nobody"\n'
    dir.chmod(0o700)
    assert f"can't enter {dir}" in refused(dir / "node", settings)
    dir.chmod(0o755)
    with Node(dir, zones=files(POLICY), settings=settings) as node:
        assert_rights(node.child.pid, NOBODY.pw_uid)
        wait_until(lambda: (node.dir / "state/zones/svc.example.json").exists(), 15)
    own(node.dir / "state", "5353")
    assert "the user nobody can't write" in refused(dir / "node", settings)
    assert "has no user `nosuch`" in refused(dir / "other", settings.replace("nobody", "nosuch"))


def test_another_user_than_root_only_loses_capabilities(dir):
    (dir / "node").mkdir()
    settings = write_files(dir / "node", SETTINGS, files(POLICY))
    own(dir, "nobody")
    binary = dir / "portolan"
    binary.write_bytes(BINARY.read_bytes())
    binary.chmod(0o755)

    def become():
        os.setgroups([])
        os.setresgid(NOBODY.pw_gid, NOBODY.pw_gid, NOBODY.pw_gid)
        os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)

    child = Child([binary, "serve", "--config", settings], dir, "serve", env=environment(), before_exec=become)
    try:
        child.wait_line("^ready ", 30)
        have = rights(child.pid)
        assert {int(value, 16) for value in have["CapEff"]} == {0} and have["NoNewPrivs"] == {"1"}, have
        assert "WARN" not in child.err()
    finally:
        child.end()


def test_the_leash_of_a_parent_holds(dir):
    """The kernel forgets PR_SET_PDEATHSIG when a process becomes another user; the tests rely on it."""
    settings = write_files(dir / "node", SETTINGS, files(POLICY))
    script = (
        "import sys, subprocess; sys.path.insert(0, sys.argv[1]); from processes import leashed;"
        "child = subprocess.Popen(sys.argv[2:], preexec_fn=leashed(), stdout=subprocess.PIPE, text=True);"
        "print(child.stdout.readline(), child.pid, flush=True); sys.stdin.read()"
    )
    argv = ["python3", "-c", script, str(Path(__file__).parent), str(BINARY), "serve", "--config", str(settings)]
    parent = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    assert parent.stdout.readline().startswith("ready ")
    pid = int(parent.stdout.readline())
    assert_rights(pid, NOBODY.pw_uid)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], 15)
