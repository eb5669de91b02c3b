"""Enclaves for a test, from sources, ELFs and demos."""

from collections.abc import Hashable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from penglai.abi.errors import NoSuchEnclaveError
from penglai.embedded import Machine
from penglai.host.enclave import Enclave
from penglai.host.image import Image
from penglai.sdk.build import build

SOURCES = {".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".s", ".S", ".zig"}
"""Suffixes of what is compiled."""

FLAGS = ("-g",)
"""With which sources are compiled unless the test says: so backtraces have lines."""


class Maker:
    """Makes enclaves on a machine; they are destroyed when the test is over.

    here: where relative paths begin, if there is such a file; the current directory otherwise.  builds: what
    was built in this run, by sources and flags.  directory: for what is built.
    """

    def __init__(self, machine: Machine, here: Path, builds: dict[Hashable, Path], directory: Path) -> None:
        self._machine = machine
        self._here = here
        self._builds = builds
        self._directory = directory
        self._made: list[Enclave] = []

    def __call__(
        self, what: Image | Sequence[str | PathLike[str]], *, flags: Sequence[str] = FLAGS, **options: Any
    ) -> Enclave:
        """An enclave.

        what: a source or several of them, which are compiled once in a run; the path of an ELF, its bytes, or
        the name of a demo.  flags: for the compiler.  options: as for `penglai.Machine.create`.

        Raises ToolchainError with the compiler's messages, and what `create` raises.
        """
        made = self._machine.create(self.image(what, flags), **options)
        self._made.append(made)
        return made

    def image(self, what: Image | Sequence[str | PathLike[str]], flags: Sequence[str] = FLAGS) -> Image:
        """What `create` takes, of the same."""
        if isinstance(what, bytes | bytearray | memoryview):
            return what
        names = [what] if isinstance(what, str | PathLike) else list(what)
        paths = [self._find(fspath(name)) for name in names]
        if isinstance(what, str | PathLike) and paths[0].suffix not in SOURCES:
            return paths[0] if paths[0].is_file() else what
        key = (tuple(paths), tuple(flags))
        if key not in self._builds:
            output = self._directory / f"{len(self._builds)}" / paths[0].stem
            output.parent.mkdir()
            self._builds[key] = build(paths, output, flags)
        return self._builds[key]

    def close(self) -> None:
        """Destroy those that are left: servers last, since others may be calling them."""
        for each in sorted(self._made, key=lambda one: one.kind == "server"):
            try:
                each.destroy()
            except NoSuchEnclaveError:
                continue

    def _find(self, name: str) -> Path:
        beside = self._here / name
        return beside if beside.is_file() else Path(name)
