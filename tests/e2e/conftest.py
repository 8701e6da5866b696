"""The fixtures of the end-to-end tests are in end_to_end.py, which other folders of tests use too."""
from end_to_end import *
