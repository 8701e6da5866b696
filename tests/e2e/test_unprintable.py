"""No text of a file, a client or a server reaches a terminal or a log with characters that the terminal obeys, that change
the order of the text, or that nobody sees."""
import http.server
import json
import re
import threading
import urllib.error
import urllib.request

from portolan import BINARY, MASTER, SETTINGS, Node, command, environment
from screen import Screen
from test_operator import ALICE, FILE, POLICY, write_tokens

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x08\u009b2J\x7f\u202e\u2066\u200f\u061c\u2028\u200b\ufeff\r\nready"
# The colours that the commands use themselves, bold and underlined.
COLOUR = re.compile(r"\x1b\[(?:0|1|4|31|32|33|36)m")
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def assert_printable(text, what):
    found = UNPRINTABLE.search(COLOUR.sub("", text))
    assert found is None, f"{what}: {text[max(0, found.start() - 60):found.end() + 20]!r}"
    assert "\nready" not in text, f"{what}: a line of its own"


def spoiled(value):
    """The same JSON with a hostile text after every string."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [spoiled(each) for each in value]
    if isinstance(value, dict):
        return {key: spoiled(of) for key, of in value.items()}
    return value


class Spoiler:
    """An API that passes each call to a node and spoils the texts of its replies."""

    def __init__(self, url):
        class Handler(http.server.BaseHTTPRequestHandler):
            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0)) or None
                head = {key: self.headers[key] for key in ("authorization", "content-type") if self.headers.get(key)}
                request = urllib.request.Request(url + self.path, data=body, headers=head, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=30) as reply:
                        status, text = reply.status, reply.read()
                except urllib.error.HTTPError as refused:
                    status, text = refused.code, refused.read()
                # Not escaped: a hostile server writes what it likes.
                text = json.dumps(spoiled(json.loads(text)), ensure_ascii=False).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = pass_on

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_a_hostile_server_can_not_control_the_terminal_of_a_command(dir):
    write_tokens(dir)
    with Node(dir, {FILE: POLICY, "svc.example.zone": MASTER}) as node, Spoiler(node.url) as spoiler:
        seen = 0
        # Colours also in a pipe, so that nothing is removed on the way.
        env = {"CLICOLOR_FORCE": "1", "PORTOLAN_TOKEN": ALICE}
        for format in ("human", "json"):
            for argv in (
                ["status"],
                ["explain", "www.svc.example"],
                ["explain", "nothing.svc.example"],
                ["simulate", "--lose", "fra1"],
                ["drain", "fra1", "--why", "kernel"],
                ["drain", "nobody", "--why", "kernel"],
                ["overrides"],
                ["status"],
                ["clear", "fra1"],
                ["failback", "www.svc.example"],
                ["reload"],
            ):
                done = command(*argv, "--format", format, "--server", spoiler.url, env=env)
                assert_printable(done.stdout, argv)
                assert_printable(done.stderr, argv)
                seen += "owned" in done.stdout + done.stderr
        assert seen >= 18, "the texts are shown, with escapes"


def test_names_from_files_and_the_command_line_are_escaped(dir):
    evil = "e\x1b[2J\u202e\u009bvil"
    quoted = json.dumps(evil)
    policy = POLICY.replace("[endpoint.nyc]", f"[endpoint.{quoted}]").replace('"nyc"', quoted) + f"\n[pool.{quoted}]\nmembers = [{quoted}]\n"
    zones = {FILE: POLICY, "svc.example.zone": MASTER}
    with Node(dir, zones, env={"PORTOLAN_LOG": "debug"}) as node:
        (node.dir / "zones" / f"{evil}.zone").write_text("no zone\n")
        (node.dir / "zones" / f"{evil}.policy.toml").write_text(f"zone = {quoted}\n{quoted} = 1\n")
        node.write(FILE, policy)
        env = {"CLICOLOR_FORCE": "1"}
        config = ["--config", node.settings]
        for argv in (
            ["check", *config],
            ["check", "--format", "json", *config],
            ["explain", "www.svc.example", *config],
            ["simulate", "--lose", evil, *config],
            ["explain", evil, *config],
            ["check", "--config", evil],
            ["check", evil],
            ["check", f"--{evil}"],
            ["serve", "--config", evil],
            ["serve", "--strict", *config],
            ["drain", evil, "--why", evil],
            ["drain", evil, "--why", "a", "--server", evil],
            [evil],
            ["reload", "--server", node.url],
            ["status", "--server", node.url],
            ["explain", evil, "--server", node.url],
        ):
            done = command(*argv, env=env)
            assert_printable(done.stdout, argv)
            assert_printable(done.stderr, argv)
        assert_printable(node.child.err(), "the log")
        assert "vil" in node.child.err()
        status, page = node.get("/")
        assert status == 200
        assert_printable(page, "the page")


def test_excerpts_of_lines_are_printable(dir):
    """On a terminal `check` shows the line of a problem."""
    dir.joinpath("zones").mkdir()
    dir.joinpath("portolan.toml").write_text(SETTINGS + '\n[zones]\ndir = "zones"\n')
    dir.joinpath("zones", FILE).write_text('zone = "svc.example."\n"\u202e\u200b\u009bkey" = 1\n', encoding="utf-8")
    argv = [BINARY, "check", "--config", dir / "portolan.toml"]
    with Screen(argv, env=environment(TERM="xterm"), size=(200, 40)) as screen:
        screen.wait(lambda: screen.process.poll() is not None and "svc.example" in screen.raw, 60)
        assert_printable(screen.raw.replace("\r\n", "\n"), "check")
