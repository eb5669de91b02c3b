"""The trusted part, as docs/architecture.md prints its size: the monitor, and what it imports of ours."""

import re
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
WITHIN = 0.05
"""Of the printed figure: so that not every line makes it wrong."""


def trusted() -> set[str]:
    """Modules that the monitor consists of, or reaches by imports."""
    graph = grimp.build_graph("penglai")
    monitor = "penglai.monitor"
    return {monitor} | graph.find_descendants(monitor) | graph.find_upstream_modules(monitor, as_package=True)


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def sizes() -> dict[str, int]:
    """Lines by room, the C of the engine apart."""
    found: dict[str, int] = {}
    for module in trusted():
        base = SOURCE.joinpath(*module.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        room = "`penglai." + module.split(".")[1] + "`"
        found[room] = found.get(room, 0) + lines_of(path)
    c = [path for path in (SOURCE / "penglai/machine").rglob("*") if path.suffix in {".c", ".h"}]
    native = [path for path in c if path.parent.name == "native"]
    size, of_native = sum(map(lines_of, c)), sum(map(lines_of, native))
    return {
        **found,
        "`penglai.machine` (C)": size - of_native,
        "the native engine, where it is the engine (C)": of_native,
    }


def printed() -> dict[str, int]:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- trusted.*?-->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert table
    rows = (line.strip("| ").split(" | ") for line in table[1].splitlines()[2:] if line)
    return {name: int(number.replace(",", "")) for name, number in rows}


def test_the_printed_size_of_the_trusted_part_is_its_size():
    assert printed().keys() == sizes().keys()
    for room, lines in sizes().items():
        assert abs(printed()[room] - lines) <= max(20, WITHIN * lines), (room, lines)


def test_nothing_of_the_hosts_is_in_it():
    rooms = {module.split(".")[1] for module in trusted()}
    assert rooms == {"abi", "attestation", "machine", "monitor", "toolchain"}
