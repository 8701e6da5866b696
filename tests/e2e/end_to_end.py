"""The fixtures of every end-to-end test: a directory, endpoints that end with the test, a time limit, and measured figures. The
conftest.py of each folder of such tests takes them over."""
import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

import portolan
from endpoint import Endpoint
from world import Lone, can_make_places

# No test takes longer on a machine where it works: the longest, the demo's 20 s restart, takes about a minute.
TEST_SECONDS = 240


def pytest_configure(config):
    config.addinivalue_line("markers", "places: needs network namespaces, so root")
    if not portolan.BINARY.exists():
        raise pytest.UsageError(f"no {portolan.BINARY}: cargo build --release, or name another with PORTOLAN_BIN")


# The files that take longest, in this order: each runs in one process, and the last one to begin would be waited for.
LONGEST = ["test_sinks_nats", "test_files", "test_lossy", "test_hostile", "test_drill_fleet", "test_kubernetes", "test_documents"]


def pytest_collection_modifyitems(items):
    order = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    if can_make_places():
        return
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        return  # there these tests must run, and fail with a message
    for item in items:
        if "places" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a network namespace of its own: run as root"))


@contextlib.contextmanager
def time_limited(seconds):
    """Ends a test that hangs, and shows the line where it hangs."""

    def too_long(*_):
        raise TimeoutError(f"the test took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def time_limit():
    with time_limited(TEST_SECONDS):
        yield


@pytest.fixture
def dir(request):
    """A directory that other users may enter. It is not removed if the test fails."""
    path = Path(tempfile.mkdtemp(prefix="portolan-"))
    path.chmod(0o755)
    yield path
    failed = getattr(request.node, "failed", False)
    if failed:
        print(f"files are in {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


@pytest.fixture
def endpoints(dir):
    """Starts endpoints that are ended with the test: endpoints("fra1"), endpoints("fra1", place=..., host=...)"""
    started = []

    def start(name, **how):
        started.append(Endpoint(dir, name, **how))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.end()


@pytest.fixture
def lone():
    """A network namespace, with every port free."""
    with Lone() as place:
        yield place


@pytest.fixture
def figure(request):
    """Prints a measured figure at the end of the run: figure("killed endpoint last named after", 0.41, "s", bound=1.2)"""

    def note(what, value, unit, bound=None):
        limit = f" (at most {bound:.3f} {unit})" if bound is not None else ""
        # A property of the test's report, as tests run in several processes.
        request.node.user_properties.append(("figure", f"{request.node.name}: {what} {value:.3f} {unit}{limit}"))

    return note


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    ends = [report for report in reports if getattr(report, "when", None) == "call"]
    figures = [line for report in ends for kind, line in report.user_properties if kind == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
