"""Places: the directories of what this package keeps for its user, and where installed packages lie."""

import importlib.util
import os
from pathlib import Path

from penglai.abi.errors import ToolchainError

CACHE_VARIABLE = "PENGLAI_CACHE"
"""Environment variable that names another cache directory."""

STATE_VARIABLE = "PENGLAI_STATE"
"""Environment variable that names another directory for what outlives a restart of a machine."""


def _user_dir(variable: str, default: str) -> Path:
    """Our directory below one of the user's, as the XDG Base Directory Specification has them.

    variable: of the environment, names it; what is not absolute counts as nothing.  default: where else.
    Raises ToolchainError for a user without a home directory.
    """
    named = Path(os.environ.get(variable, ""))
    try:
        return (named if named.is_absolute() else Path(default).expanduser()) / "penglai"
    except RuntimeError as error:
        raise ToolchainError(f"you have no home directory; set HOME, or {variable}") from error


def cache_dir() -> Path:
    """The directory that holds what was built: $PENGLAI_CACHE, or the user's cache directory."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else _user_dir("XDG_CACHE_HOME", "~/.cache")


def state_dir() -> Path:
    """The directory that outlives a restart of a machine: $PENGLAI_STATE, or the user's state directory."""
    override = os.environ.get(STATE_VARIABLE)
    return Path(override) if override else _user_dir("XDG_STATE_HOME", "~/.local/state")


def refuses_to_execute(path: Path) -> str | None:
    """Why nothing can be executed at a path, or below it once it is there; None if that is no reason."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if os.access(each, os.F_OK))
    if os.statvfs(there).f_flag & os.ST_NOEXEC:
        return f"nothing may be executed there (noexec); set {CACHE_VARIABLE} to a directory elsewhere"
    return None


def package_dir(name: str) -> Path:
    """Where an installed package lies, without importing it.  Raises ToolchainError if it is missing."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ToolchainError(f"the Python package {name!r} is not installed; run: pip install {name}")
    return Path(spec.submodule_search_locations[0])


def package_version(name: str) -> str:
    """Version of an installed distribution.  Raises ToolchainError if it is missing."""
    from importlib import metadata  # noqa: PLC0415 - slow, and seldom needed

    try:
        return str(metadata.version(name))
    except metadata.PackageNotFoundError:
        raise ToolchainError(
            f"the Python package {name!r} is not installed; run: pip install {name}"
        ) from None


def package_record(name: str) -> str:
    """What tells versions of an installed package apart; quicker than its version."""
    records = [path.name for path in package_dir(name).parent.glob(f"{name}-*.dist-info")]
    return records[0] if len(records) == 1 else package_version(name)
