"""The query log by dnstap, read by the programs of fstrm and of dnstap-ldns: what is asked is in it, and a reader that is
slow, stopped or away costs messages of the log, which are counted, and nothing else."""
import collections
import os
import shutil
import signal
import subprocess

import pytest

from flood import flood
from portolan import SETTINGS, Node, files, policy
from processes import Child, wait_until
from test_encrypted import ENCRYPTED, new_certificate

pytestmark = pytest.mark.skipif(
    not (shutil.which("fstrm_capture") and shutil.which("dnstap-ldns")), reason="needs fstrm-bin and dnstap-ldns"
)

FILES = files(policy(endpoint={"one": {"addresses": ["192.0.2.1"]}}, name={"www": {"pool": "one"}}))
# So many queries with their replies don't fit into the queue of 8 MiB and the socket's buffers.
MANY = 60_000


def settings(key, path, base=SETTINGS):
    """As root, because the tests' directories are root's."""
    return base + f'\n[run]\nuser = "root"\n\n[dnstap]\n{key} = "{path}"\n'


def messages(path):
    """The messages of a log as dnstap-ldns prints them: (kind, client's address, protocol, question)."""
    done = subprocess.run(["dnstap-ldns", "-q", "-r", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done
    found = []
    for line in done.stdout.splitlines():
        _, _, kind, client, protocol, _, question, of_class, rdtype = line.split()
        assert of_class == "IN", line
        found.append((kind, client, protocol, f"{question.strip(chr(34))} {rdtype}"))
    return found


def kinds(found):
    return collections.Counter(kind for kind, *_ in found)


class Reader:
    """fstrm_capture at a socket of `dir`."""

    def __init__(self, dir, name="reader"):
        self.socket, self.file = dir / "dnstap.sock", dir / f"{name}.dnstap"
        argv = ["fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-u", str(self.socket), "-w", str(self.file), "-ddd"]
        self.child = Child(argv, dir, name)
        wait_until(lambda: "opened UNIX socket" in self.child.err() or self.socket.exists(), 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()


def is_open(node):
    return node.metric("portolan_dnstap_open") == 1


def lost(node):
    return node.count("portolan_dropped_total", reason="dnstap")


def test_every_query_and_reply_is_in_the_file(dir):
    asked = [f"n{nth}.svc.example." for nth in range(50)]
    with Node(dir, FILES, settings("file", "queries.dnstap")) as node:
        for nth, name in enumerate(asked):
            node.ask(name, "AAAA" if nth % 3 else "A", tcp=nth % 5 == 0)
        assert node.count("portolan_dropped_total", reason="dnstap") == 0
    found = messages(node.dir / "queries.dnstap")
    expected = [f"{name} {'AAAA' if nth % 3 else 'A'}" for nth, name in enumerate(asked)]
    assert [question for kind, *_, question in found if kind == "AQ"] == expected
    assert [question for kind, *_, question in found if kind == "AR"] == expected
    assert {client for _, client, *_ in found} == {"127.0.0.1"}
    assert [protocol for kind, _, protocol, _ in found if kind == "AQ"] == [
        "UDP" if nth % 5 else "TCP" for nth in range(50)
    ]


def test_the_encrypted_transports_are_in_it_too(dir):
    new_certificate(dir / "node")
    with Reader(dir) as reader, Node(dir, FILES, settings("socket", reader.socket, ENCRYPTED)) as node:
        wait_until(lambda: is_open(node), 20)
        for how in (["+tls"], ["+https"], ["+quic"]):
            host, port = node.encrypted[how[0][1:]][0]
            done = subprocess.run(["kdig", *how, f"@{host}", "-p", str(port), "www.svc.example.", "+short"],
                                  capture_output=True, text=True, timeout=20)
            assert done.stdout.split() == ["192.0.2.1"], done
        wait_until(lambda: node.count("portolan_dnstap_written_total") == 6, 20)
        node.child.end()
        reader.child.signal(signal.SIGTERM)
        reader.child.wait()
    assert kinds(messages(reader.file)) == {"AQ": 3, "AR": 3}


def test_a_reader_may_come_late_and_again_and_gets_what_it_missed(dir):
    with Node(dir, FILES, settings("socket", dir / "dnstap.sock")) as node:
        wait_until(lambda: "the query log can't be written" in node.child.err(), 20)
        asked = []

        def ask(name):
            asked.append(f"{name}.svc.example. A")
            return node.ask(f"{name}.svc.example.")

        ask("early")
        with Reader(dir, "first") as reader:
            wait_until(lambda: is_open(node), 20)
            ask("first")
            wait_until(lambda: node.count("portolan_dnstap_written_total") == 2 * len(asked), 20)
            reader.child.signal(signal.SIGTERM)
            reader.child.wait()
            assert [question for kind, *_, question in messages(reader.file) if kind == "AQ"] == asked
        seen = len(asked)
        # The server notices that the reader has gone when it writes.
        wait_until(lambda: ask("between") and not is_open(node), 20)
        with Reader(dir, "second") as reader:
            wait_until(lambda: is_open(node), 20)
            ask("second")
            wait_until(lambda: node.count("portolan_dnstap_written_total") == 2 * len(asked), 20)
            reader.child.signal(signal.SIGTERM)
            reader.child.wait()
            assert [question for kind, *_, question in messages(reader.file) if kind == "AQ"] == asked[seen:]
        assert lost(node) == 0


def test_a_stopped_reader_delays_no_answer_and_what_it_misses_is_counted(dir, figure):
    with Reader(dir) as reader, Node(dir, FILES, settings("socket", reader.socket)) as node:
        wait_until(lambda: is_open(node), 20)
        reader.child.signal(signal.SIGSTOP)
        # Each is answered, or this fails.
        assert flood(node.udp, "www.svc.example.", MANY) == {"192.0.2.1": MANY}
        assert node.get("/healthz")[0] == 200
        missed = lost(node)
        assert 0 < missed < 2 * MANY
        reader.child.signal(signal.SIGCONT)
        wait_until(lambda: node.count("portolan_dnstap_written_total") + lost(node) == 2 * MANY, 60)
        assert lost(node) == missed, "nothing is lost once the reader reads"
        node.ask("after.svc.example.")
        node.child.end()
        reader.child.signal(signal.SIGTERM)
        reader.child.wait()
        found = messages(reader.file)
        assert len(found) == 2 * MANY - missed + 2
        assert found[-1][3] == "after.svc.example. A"
        figure("messages of the query log that a stopped reader missed", missed, "")


def test_a_stop_does_not_wait_for_a_reader_that_reads_nothing(dir):
    with Reader(dir) as reader, Node(dir, FILES, settings("socket", reader.socket)) as node:
        wait_until(lambda: is_open(node), 20)
        reader.child.signal(signal.SIGSTOP)
        flood(node.udp, "www.svc.example.", MANY // 2)
        node.child.signal(signal.SIGTERM)
        node.child.wait(10)
        reader.child.signal(signal.SIGCONT)


def test_a_file_that_logrotate_renames_is_begun_anew(dir):
    with Node(dir, FILES, settings("file", "queries.dnstap")) as node:
        file, rotated = node.dir / "queries.dnstap", node.dir / "queries.dnstap.1"
        node.ask("before.svc.example.")
        wait_until(lambda: node.count("portolan_dnstap_written_total") == 2, 20)
        file.rename(rotated)
        wait_until(file.exists, 20)
        node.ask("after.svc.example.")
    assert [question for *_, question in messages(rotated)] == ["before.svc.example. A"] * 2
    assert [question for *_, question in messages(file)] == ["after.svc.example. A"] * 2


def test_the_log_of_the_run_before_is_kept(dir):
    for name in ("first", "second"):
        with Node(dir, FILES, settings("file", "queries.dnstap")) as node:
            node.ask(f"{name}.svc.example.")
    old = [path for path in node.dir.glob("queries.dnstap.*")]
    assert len(old) == 1
    assert [messages(path)[0][3] for path in (old[0], node.dir / "queries.dnstap")] == [
        "first.svc.example. A", "second.svc.example. A",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which becomes nobody")
def test_a_directory_that_the_user_of_the_server_can_not_write_is_named(dir):
    section = f'\n[run]\nuser = "nobody"\n\n[dnstap]\nfile = "{dir}/queries.dnstap"\n'
    with Node(dir, FILES, SETTINGS + section) as node:
        wait_until(lambda: "can't be written" in node.child.err(), 20)
        assert "Permission denied" in node.child.err() and f"{dir}/queries.dnstap" in node.child.err()
        assert node.addresses("www.svc.example.") == ["192.0.2.1"]
        assert node.metric("portolan_dnstap_open") == 0
