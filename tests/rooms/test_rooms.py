"""What the table of docs/architecture.md forbids fails, however it is written; what it permits passes."""

import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rooms.check import check

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `penglai\.(\w+)` \|.*\| ([^|]+) \|$", re.MULTILINE)
MODULES = {"machine": "machine.board"}
"""What of a room anybody may import who may import the room."""

Plant = Callable[[str, str], None]


def table() -> dict[str, set[str]]:
    """Room: which rooms it may import."""
    found: dict[str, set[str]] = {}
    for room, may in ROW.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8")):
        words = re.sub(r"\(.*?\)", "", may)
        everything = {"all above": set(found), "nothing of ours": set()}
        found[room] = everything.get(words, {word.strip() for word in words.split(",")})
    return found


TABLE = table()
OTHERS = {room: [each for each in TABLE if each not in {room, *may}] for room, may in TABLE.items()}
FORBIDDEN = {room: others for room, others in OTHERS.items() if others}
"""Room: which rooms it may not import."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the rules are about."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "pyproject.toml", root)
    for path in (ROOT / "src").rglob("*.py"):
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


@pytest.fixture
def plant(copy: Path) -> Iterator[Plant]:
    """Adds lines to files below src; all is as it was afterwards."""
    before: dict[Path, str | None] = {}
    made: list[Path] = []

    def add(name: str, text: str) -> None:
        path = copy / "src" / name
        before.setdefault(path, path.read_text() if path.exists() else None)
        if not path.parent.exists():
            path.parent.mkdir()
            made.append(path.parent)
        path.write_text(f"{before[path] or ''}\n{text}\n")

    yield add
    for path, text in before.items():
        path.unlink() if text is None else path.write_text(text)
    for directory in made:
        directory.rmdir()


def file_of(room: str) -> str:
    """A new module of a room; the room itself, if it is one module."""
    package = (ROOT / "src/penglai" / room).is_dir()
    return f"penglai/{room}/planted.py" if package else f"penglai/{room}.py"


def module_of(room: str) -> str:
    return file_of(room).removesuffix(".py").replace("/", ".")


def test_the_table_has_the_rooms_of_the_contract_in_its_order():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    above = [set(layer.split(" | ")) for layer in reversed(layers)]
    assert set(TABLE) == set().union(*above)
    for room, others in TABLE.items():
        (place,) = (number for number, layer in enumerate(above) if room in layer)
        assert others <= set().union(*above[:place])


def test_the_table_is_read():
    assert TABLE["abi"] == set()
    assert TABLE["driver"] == {"abi", "machine", "scheduler"}
    assert TABLE["cli"] == set(TABLE) - {"cli"}


def test_the_sources_as_they_are_pass(copy: Path):
    assert check(copy) == []


def test_all_that_the_table_permits_passes(copy: Path, plant: Plant):
    for room, others in TABLE.items():
        wanted = [f"import penglai.{MODULES.get(other, other)}" for other in sorted(others)]
        plant(file_of(room), "\n".join(wanted))
    assert check(copy) == []


@pytest.mark.slow
@pytest.mark.parametrize("room", FORBIDDEN)
def test_what_the_table_forbids_fails(
    copy: Path, plant: Plant, capsys: pytest.CaptureFixture[str], room: str
):
    """Of all that are planted at once, each is named."""
    plant(file_of(room), "\n".join(f"import penglai.{other}" for other in FORBIDDEN[room]))
    assert check(copy)
    said = capsys.readouterr().out
    importer = re.escape(module_of(room))
    unnamed = [each for each in FORBIDDEN[room] if not re.search(rf"{importer} -> penglai\.{each}\b", said)]
    assert not unnamed


@pytest.mark.parametrize(
    ("room", "other"), [("driver", "monitor"), ("abi", "monitor"), ("toolchain", "machine")]
)
@pytest.mark.parametrize(
    "text",
    [
        "from penglai import {0}",
        "from ..{0} import *",
        "from .. import {0}",
        "import penglai.{0}.planted as harmless",
        "def later():\n    import penglai.{0}",
        "class Holder:\n    def later(self):\n        from penglai.{0} import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import penglai.{0}",
        "try:\n    import penglai.{0}\nexcept ImportError:\n    pass",
        'import importlib\nimportlib.import_module("penglai.{0}")',
        'import importlib\nlater = lambda: importlib.import_module("penglai.{0}.planted").x',
        'import importlib\nimportlib.import_module(f"penglai.{0}.{{input()}}")',
        'import importlib\nimportlib.import_module(f"penglai.{{input()}}")',
    ],
)
def test_however_it_is_written(copy: Path, plant: Plant, room: str, other: str, text: str):
    plant(f"penglai/{other}/planted.py", "x = 1")
    plant(file_of(room), text.format(other))
    assert check(copy)


@pytest.mark.parametrize(
    "bridge",
    [
        ("penglai/bridge.py",),
        ("penglai/bridge/__init__.py",),
        ("penglai/bridge/__init__.py", "penglai/bridge/far.py"),
        ("penglai/bridge/far.py",),
        ("bridge/__init__.py",),
        ("bridge.py",),
    ],
    ids=str,
)
class TestANewPackage:
    @pytest.mark.parametrize(
        "importer", ["penglai/driver/planted.py", "penglai/host/planted.py", "penglai/abi/planted.py"]
    )
    @pytest.mark.parametrize("form", ["import {0}", 'import importlib\nimportlib.import_module("{0}")'])
    def test_is_no_way_around(
        self, copy: Path, plant: Plant, bridge: tuple[str, ...], importer: str, form: str
    ):
        for name in bridge:
            plant(name, "import penglai.monitor.monitor" if name == bridge[-1] else "")
        plant(
            importer, form.format(bridge[-1].removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        )
        assert check(copy)

    def test_needs_a_place_even_if_it_imports_nothing(
        self, copy: Path, plant: Plant, bridge: tuple[str, ...]
    ):
        for name in bridge:
            plant(name, "x = 1")
        assert check(copy)


def test_a_room_is_no_way_around_either(copy: Path, plant: Plant):
    plant("penglai/machine/planted.py", "import penglai.monitor.monitor")
    plant("penglai/driver/planted.py", "import penglai.machine.memory")
    assert check(copy)


@pytest.mark.parametrize(
    "text",
    [
        '__import__("penglai.monitor")',
        'exec("import penglai.monitor")',
        "eval(\"__import__('penglai.monitor')\")",
        "import importlib\nimportlib.import_module(input())",
        'import importlib\nimportlib.import_module("penglai." + "monitor")',
        'import importlib\nimportlib.import_module(".monitor", "penglai")',
        'import importlib\nimportlib.import_module(name="penglai.monitor")',
        'import importlib\nload = importlib.import_module\nload("penglai.monitor")',
        'import importlib as i\ni.import_module("penglai.monitor")',
        'from importlib import import_module\nimport_module("penglai.monitor")',
        'import importlib\ngetattr(importlib, "import_module")("penglai.monitor")',
        'import importlib.util\nimportlib.util.spec_from_file_location("x", "x.py")',
        'import importlib\nimportlib.import_module("runpy").run_module("penglai.monitor")',
        'import runpy\nrunpy.run_module("penglai.monitor")',
        'from pkgutil import resolve_name\nresolve_name("penglai.monitor")',
        'import builtins\nbuiltins.__import__("penglai.monitor")',
        'import sys\nsys.modules["penglai.monitor"]',
        'from sys import modules\nmodules["penglai.monitor"]',
    ],
)
def test_what_could_import_anything_is_refused(copy: Path, plant: Plant, text: str):
    plant("penglai/driver/planted.py", text)
    assert "penglai.driver.planted, line" in " ".join(check(copy))


@pytest.mark.parametrize("name", ['f"penglai.{input()}"', '"penglai." + input()', '"penglai.monitor"'])
def test_who_imports_by_name_says_which_package_it_stays_in(copy: Path, plant: Plant, name: str):
    plant("penglai/cli/app.py", f"importlib.import_module({name})")
    assert check(copy)


@pytest.mark.parametrize(
    "part", ["engine", "library", "hart", "supervisor", "store", "system", "devices.share", "planted"]
)
def test_the_driver_sees_only_the_hosts_view_of_the_machine(copy: Path, plant: Plant, part: str):
    plant("penglai/machine/planted.py", "x = 1")
    plant("penglai/driver/planted.py", f"import penglai.machine.{part}")
    assert check(copy)


@pytest.mark.slow
@pytest.mark.parametrize("room", TABLE)
@pytest.mark.parametrize("text", ["import penglai", "import unicorn.riscv_const"])
def test_what_is_for_no_room(copy: Path, plant: Plant, room: str, text: str):
    plant(file_of(room), text)
    assert check(copy)


@pytest.mark.parametrize(
    "text",
    [
        "from penglai import Machine",
        "from unicorn import Uc",
        'import importlib\nimportlib.import_module("penglai")',
        'import importlib\nimportlib.import_module("unicorn.riscv_const")',
    ],
)
def test_nor_in_another_way(copy: Path, plant: Plant, text: str):
    plant("penglai/machine/planted.py", text)
    assert check(copy)


def test_unicorn_is_for_the_engine(copy: Path, plant: Plant):
    plant("penglai/machine/library.py", "import unicorn")
    assert check(copy) == []


@pytest.mark.parametrize("name", ["tests.rooms", "benchmarks", "pytest", "attr"])
def test_what_is_no_dependency_is_not_imported(copy: Path, plant: Plant, name: str):
    plant("penglai/cli/planted.py", f"import {name}")
    assert check(copy)
