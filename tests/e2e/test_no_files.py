"""The server never waits for a pipe in the place of a file, and a version that was served outlives a kill."""
import os
import shutil
import time

from portolan import MASTER, SETTINGS, Node
from processes import wait_until
from test_parts import A, B, files, policy, state, www

SIDE = ["tokens", "secrets", "c.pem", "region.txt", "portolan.toml", "zones/" + A, "zones/a.example.zone"]


def settings():
    text = SETTINGS.replace("http =", 'tls = ["127.0.0.1:0"]\nhttp =')
    text += 'nets = ["file:region.txt"]\n[cookies]\nsecret_file = "secrets"\n[tls]\ncert = "c.pem"\nkey = "c.key"\n'
    return text


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(dir):
    (dir / "node").mkdir()
    (dir / "node/tokens").write_text("alice operate " + "a" * 32 + "\n")
    (dir / "node/secrets").write_text("a" * 32 + "\n")
    (dir / "node/region.txt").write_text("127.9.0.0/16\n")
    with Node(dir, files(), settings=settings()) as node:
        for host, name in enumerate(SIDE, 2):
            file = node.dir / name
            if file.exists():
                file.rename(dir / "away")
            os.mkfifo(file)
            node.write(B, policy("b", host))
            wait_until(lambda: www(node, "b") == [f"192.0.2.{host}"], 15)
            done = node.command("reload")
            assert done.returncode == 1 and "not a file" in done.stderr and file.name in done.stderr, (name, done)
            assert www(node, "a") == ["192.0.2.1"]
            file.unlink()
            if (dir / "away").exists():
                (dir / "away").rename(file)


def test_a_version_that_was_served_outlives_a_kill(dir):
    with Node(dir, files()) as node:
        for host in range(2, 6):
            node.write(A, policy("a", host))
            wait_until(lambda: www(node, "a") == [f"192.0.2.{host}"], 15)
            # It is written in the background.
            written = lambda: [copy.read_text() for copy in (node.dir / "state/zones").glob(f"a.example@*/{A}")]
            wait_until(lambda: written() == [policy("a", host)], 30)
            node.write(A, "= =")
            wait_until(lambda: state(node, "a")["state"] == "kept", 15)
            node.child.process.kill()
            node.child.wait()
            node = Node(dir, {})
            assert www(node, "a") == [f"192.0.2.{host}"]
        node.child.end()


def test_a_damaged_version_is_not_used_and_is_written_again(dir):
    with Node(dir, files()) as node:
        wait_until(lambda: (node.dir / "state/zones/a.example.json").exists(), 10)
    copy = next((dir / "node/state/zones").glob("a.example@*")) / A
    copy.write_text(policy("a", 66))
    good = (dir / "node/zones" / A).read_text()
    (dir / "node/zones" / A).write_text("= =")
    with Node(dir, {}) as node:
        assert node.ask("www.a.example.").rcode() == 2, "what nobody wrote is not served"
        assert "the last good version of a zone can't be read" in node.child.err()
        node.write(A, good)
        wait_until(lambda: www(node, "a") == ["192.0.2.1"], 15)
    shutil.rmtree(dir / "node/state")


def test_a_file_that_is_emptied_before_it_is_written_is_waited_for(dir):
    """An empty included file is valid, and so is an empty file of nets. Here both are only emptied for a moment."""
    geo = 'steer = "geo"\nmembers = [{ to = "one", when = { nets = ["file:office.txt"] } }, { to = "two" }]'
    steered = policy("a", 1).replace('members = ["one"]', geo) + '[endpoint.two]\naddresses = ["192.0.2.9"]\n'
    zone = {A: steered, "a.example.zone": MASTER + "$INCLUDE more.inc\n", "more.inc": "txt TXT \"here\"\n", "office.txt": "127.0.0.0/8\n"}
    with Node(dir, zone) as node:
        for name in ["more.inc", "office.txt"]:
            before = node.status()["generation"]
            (node.dir / "zones" / name).write_text("")
            # Shorter than the server waits: a file that stays empty is loaded.
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                assert node.ask("txt.a.example.", "TXT").answer and www(node, "a") == ["192.0.2.1"], name
            (node.dir / "zones" / name).write_text(zone[name] + "\n\n")
            wait_until(lambda: node.status()["generation"] > before, 15)
            assert node.ask("txt.a.example.", "TXT").answer and www(node, "a") == ["192.0.2.1"], name
        (node.dir / "zones/office.txt").write_text("")
        wait_until(lambda: www(node, "a") == ["192.0.2.9"], 15)
