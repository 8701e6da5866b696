"""The tests of this folder use the modules and the fixtures of the end-to-end tests."""
import importlib.util
import resource
import sys
from pathlib import Path

import pytest

E2E = Path(__file__).parents[1] / "e2e"
sys.path.append(str(E2E))


def load_fixtures():
    """The conftest of the end-to-end tests, under another name than this file's."""
    spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


END_TO_END = load_fixtures()
globals().update(END_TO_END)

# Tests that take long begin first, so that no process ends long after the others.
LONG = ["test_soak.py", "test_siege.py", "test_clients_that_read_nothing[quic]"]


def pytest_collection_modifyitems(items):
    END_TO_END["pytest_collection_modifyitems"](items)
    items.sort(key=lambda item: next((at for at, name in enumerate(LONG) if name in (item.path.name, item.name)), len(LONG)))


@pytest.fixture(autouse=True, scope="session")
def many_files():
    """Descriptors for thousands of clients; child processes inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
