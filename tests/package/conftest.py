"""The fixtures are those of the end-to-end tests, and the program that renders the Helm chart."""
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from end_to_end import *

from charts import build_renderer


@pytest.fixture(scope="session")
def renderer(tmp_path_factory):
    if shutil.which("go") is None:
        pytest.skip("needs Go: golang-go, golang-github-masterminds-sprig-dev and golang-gopkg-yaml.v2-dev")
    return build_renderer(tmp_path_factory.mktemp("renderer"))
