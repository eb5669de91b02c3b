"""What is mutated, and by which tests it is held."""

from dataclasses import dataclass
from pathlib import Path

from tests.mutation.runner import PACKAGE, ROOT


@dataclass(frozen=True)
class Room:
    """tests: run with coverage first, so that a mutant meets only those that reach it.

    late: for a mutant that these let through.  They make processes or threads that coverage does not follow,
    or take long; the whole of them runs.  left_out: files that are not what the room does.
    """

    name: str
    tests: tuple[str, ...]
    late: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def files(self, part: str = "") -> list[Path]:
        """Its sources whose names contain a part."""
        found = sorted((PACKAGE / self.name).rglob("*.py"))
        return [path for path in found if part in path.name and path.name not in self.left_out]

    def test_files(self) -> list[str]:
        """Its test files, without those that build or boot more than the engine."""
        found = []
        for tests in self.tests:
            path = ROOT / tests
            found += [path] if path.is_file() else sorted(path.rglob("test_*.py"))
        return [path.relative_to(ROOT).as_posix() for path in found]


ROOMS = [
    Room(
        "monitor",
        ("tests/monitor", "tests/attack/test_found.py"),
        late=("tests/attack/test_attack.py",),
        left_out=("invariants.py",),  # for tests: what they compare with
    ),
    Room("attestation", ("tests/attestation", "tests/monitor/test_keys.py")),
    Room("verifier", ("tests/verifier",)),
    Room("driver", ("tests/driver", "tests/host")),
    Room("machine", ("tests/machine", "tests/host/test_growth.py")),
    Room("virt", ("tests/virt",)),
]
