"""penglai demos, doctor, version."""

import functools
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import typer
from rich.table import Table
from rich.text import Text

from penglai.abi.errors import PenglaiError, ToolchainError
from penglai.cli.options import Json, command, fail, mark, out, show, write_json
from penglai.driver.task import Reason
from penglai.embedded import Machine
from penglai.machine.engine import choose, chosen_by
from penglai.machine.library import build as build_library
from penglai.sdk.build import DEMOS, build_demo, demo_source, demos
from penglai.toolchain.places import CACHE_VARIABLE, cache_dir, package_version

PACKAGES = (
    *("unicorn", "ziglang", "numpy", "cryptography", "gmalg"),
    *("pyelftools", "typer", "rich"),
)


@command
def list_demos(as_json: Json = False) -> None:
    """List the enclave programs that the package ships."""
    rows = [{"name": name, "about": _about(name), "source": str(demo_source(name))} for name in demos()]
    if as_json:
        write_json(rows)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(Text(row["name"], "bold"), row["about"])
    out.print(table)
    out.print(f"Sources: {DEMOS}", style="dim")


@command
def version(as_json: Json = False) -> None:
    """Show the versions of this package and of what it stands on."""
    versions = {"pypenglai": package_version("pypenglai"), "python": platform.python_version()}
    versions |= {name: package_version(name) for name in ("unicorn", "ziglang")}
    if as_json:
        write_json(versions)
    else:
        out.print("  ".join(f"{name} {number}" for name, number in versions.items()))


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, whether it is well, what was found, what would help."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


@command
def doctor(as_json: Json = False) -> None:
    """Check that everything the system needs is there and works, and say how to get what is not."""
    findings = [
        _look("python", platform.python_version, "install Python 3.11 or later"),
        _look("system", _system, "run on Linux: the machine's memory is a memfd"),
        *(_look(name, functools.partial(package_version, name), f"pip install {name}") for name in PACKAGES),
        _look("cache", _cache, f"make it writable, or set {CACHE_VARIABLE} to another directory"),
        _look("engine", lambda: str(build_library()), "pip install --force-reinstall ziglang unicorn"),
        _look("compiler", lambda: str(build_demo("hello-world")), "pip install --force-reinstall ziglang"),
        _look("machine", _machine, "please report it, with the output of: penglai doctor --json"),
    ]
    well = all(finding.ok for finding in findings)
    if as_json:
        write_json({"ok": well, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark(finding.ok)
            show(f"{finding.what:13}", finding.found)
            if finding.remedy:
                out.print(f"  remedy: {finding.remedy}")
    if not well:
        fail("something is missing")


def _look(what: str, check: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(what, True, check())
    except (PenglaiError, OSError) as error:
        return Finding(what, False, str(error), remedy)


def _system() -> str:
    if sys.platform != "linux":
        raise ToolchainError(f"{sys.platform} is not supported")
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _cache() -> str:
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    probe = directory / ".probe"
    probe.touch()
    probe.unlink()
    return str(directory)


def _machine() -> str:
    with Machine() as machine:
        enclave = machine.create("hello-world")
        result = enclave.run(timeout=60)
    if result.reason is not Reason.EXITED:
        raise ToolchainError(f"hello-world ended with {result}")
    engine = choose()
    on = f"on {engine.describe()} ({chosen_by()}; {engine.extensions()})"
    return f"hello-world ran in {enclave.info().run_time / 1e3:.0f} µs, {on}"


def _about(name: str) -> str:
    """The first line of a demo's first comment."""
    text = demo_source(name).read_text(encoding="utf-8")
    return text.lstrip("/* \n").splitlines()[0].removesuffix("*/").rstrip(" .")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("demos")(list_demos)
    app.command("doctor")(doctor)
    app.command("version")(version)
