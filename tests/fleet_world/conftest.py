"""The fixtures of the end-to-end tests, and one world for all tests of this folder: its start takes as long as NATS needs to
elect a leader. `--full` runs the tests that take long too."""
import os
import tempfile

import pytest

import parts  # finds the modules of the end-to-end tests
import end_to_end
from end_to_end import *
from fleet_world import FleetWorld, remove
from nats import PROGRAM as NATS_SERVER
from world import can_make_places

# The longest test of the full form makes fifty promotions.
FULL_SECONDS = 3000


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the tests that take minutes too")


def pytest_configure(config):
    end_to_end.pytest_configure(config)
    config.addinivalue_line("markers", "full: takes long, so it runs with --full only")


def pytest_collection_modifyitems(config, items):
    for item in items:
        item.add_marker("places")
        if "full" in item.keywords and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: --full"))
    end_to_end.pytest_collection_modifyitems(items)


@pytest.fixture(autouse=True)
def time_limit(request):
    with end_to_end.time_limited(FULL_SECONDS if "full" in request.keywords else end_to_end.TEST_SECONDS):
        yield


def new_world(dir=None, **how):
    return FleetWorld(dir or tempfile.mkdtemp(prefix="portolan-world-"), nats_server=NATS_SERVER, **how)


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
