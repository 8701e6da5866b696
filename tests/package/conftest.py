"""The fixtures are those of the end-to-end tests."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from end_to_end import *
