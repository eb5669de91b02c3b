"""make lint: the rules of the rooms hold in this checkout."""

import sys
from pathlib import Path

from tests.rooms.check import check

if __name__ == "__main__":
    sys.exit("\n".join(check(Path(__file__).parents[2])) or 0)
