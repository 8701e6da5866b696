"""The tests of this folder use the modules and the fixtures of the end-to-end tests."""
import resource
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

import end_to_end
from end_to_end import *

# Tests that take long begin first, so that no process ends long after the others.
LONG = ["test_soak.py", "test_siege.py", "test_clients_that_read_nothing[quic]"]


def pytest_collection_modifyitems(items):
    end_to_end.pytest_collection_modifyitems(items)
    items.sort(key=lambda item: next((at for at, name in enumerate(LONG) if name in (item.path.name, item.name)), len(LONG)))


@pytest.fixture(autouse=True, scope="session")
def many_files():
    """Descriptors for thousands of clients; child processes inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
