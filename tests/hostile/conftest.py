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


globals().update(load_fixtures())


@pytest.fixture(autouse=True, scope="session")
def many_files():
    """Descriptors for thousands of clients; child processes inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
