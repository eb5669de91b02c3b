"""Server enclaves that the package ships: files and blocks for other enclaves."""

from dataclasses import dataclass
from pathlib import Path

from penglai.sdk.build import PORTABLE, build_sources
from penglai.sdk.cross import SDK, kit_key
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.sources import LITTLEFS, MONOCYPHER, Archive, source

SERVICES = SDK / "services"


@dataclass(frozen=True)
class Service:
    """sources: names of files.  others: archives with more, and which of these are compiled.  libraries: it
    is linked with."""

    sources: tuple[str, ...]
    others: tuple[tuple[Archive, tuple[str, ...]], ...] = ()
    libraries: tuple[str, ...] = ()


LITTLEFS_FLAGS = ("-DLFS_DEFINES=littlefs.h",)

PROGRAMS = {
    "persistency": Service(("persistency.c", "original.c")),
    "filesystem": Service(
        (
            *("filesystem.c", "handles.c", "paths.c", "volume.c"),
            *("store.c", "seal.c", "sectors.c"),
        ),
        ((LITTLEFS, ("lfs.c", "lfs_util.c")), (MONOCYPHER, ("monocypher.c",))),
    ),
    "psa_server": Service(
        ("psa_server.c", "objects.c", "seal.c"), ((MONOCYPHER, ("monocypher.c",)),), ("-lfiles",)
    ),
}
"""By the names of the servers, which are those of Penglai-TVM's."""


def services() -> list[str]:
    """Names of the servers that the package ships."""
    return sorted(PROGRAMS)


def build_service(name: str) -> Path:
    """The ELF of a shipped server, for both machines, compiled on first use.

    Raises ToolchainError: also if a source of somebody else's is to be fetched, and cannot be.
    """
    service = PROGRAMS[name]
    own = [SERVICES / file for file in service.sources]
    places = [source(archive) for archive, _ in service.others]
    taken = [place / file for place, (_, files) in zip(places, service.others, strict=True) for file in files]
    flags = [*LITTLEFS_FLAGS, f"-I{SERVICES}", *(f"-I{place}" for place in places), *service.libraries]

    def make(output: Path) -> None:
        build_sources(PORTABLE, [*own, *taken], output, flags)

    headers = sorted(SERVICES.glob("*.h"))
    inputs = [*own, *headers, *taken, Path(__file__)]
    return compile_cached(name, [name, kit_key(PORTABLE)], inputs, make)
