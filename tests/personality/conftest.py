"""Linux programs in enclaves, as their users see them: output and status."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.linuxprograms import linux_program
from tests.support.waiting import PATIENCE

import penglai


@dataclass(frozen=True)
class Ran:
    """output: all that it wrote.  status: as a shell would have it."""

    output: str
    status: int | None


Runs = Callable[..., Ran]


@pytest.fixture(scope="session")
def run() -> Runs:
    """Runs a program: a path, the name of a file in tests/personality/programs, or C text."""

    def run_program(
        program: Path | str,
        *args: str,
        root: Path | None = None,
        files: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        memory: str = "64M",
        stops: int = 0,
    ) -> Ran:
        path = program if isinstance(program, Path) else linux_program(program)
        image = penglai.pack(path, args, root=root, files=files, env=env)
        with penglai.Machine(memory, 1, state=None) as machine:
            enclave = machine.create(image)
            running = enclave.start()
            for _ in range(stops):
                try:
                    enclave.stop()
                    enclave.resume()
                except (penglai.NoSuchEnclaveError, penglai.StateError):
                    break  # it has ended
            result = running.result(PATIENCE)
            return Ran(machine.console.text, result.value)

    return run_program
