"""The device tree: how the machine describes itself to an operating system.

Source: Devicetree Specification 0.4; the bindings of Linux for the names.
"""

from collections.abc import Sequence
from typing import NamedTuple

import fdt

from penglai.abi.errors import BadArgumentError
from penglai.abi.riscv import TIMEBASE_HZ

DTB_VERSION = 17

COMMAND_LINE_BYTES = 1024
"""With the NUL; Linux cuts off the rest."""

CPU_INTC = 1
PLIC = 2
FINISHER = 3
"""Phandles."""

EXTERNAL_INTERRUPT = 9
"""Bit of sip that the PLIC drives."""


class Node(NamedTuple):
    """A device.  compatible: what drivers look for.  irq: source at the PLIC, 0 for none."""

    name: str
    base: int
    size: int
    compatible: tuple[str, ...]
    irq: int = 0


class Description(NamedTuple):
    """What the tree tells.

    ram, ram_size: bytes.  initrd: start and end, or None.  seed: random bytes for the kernel.  firmware:
    nodes that have no registers: name, compatible and interrupt.
    """

    ram: int
    ram_size: int
    append: str
    initrd: tuple[int, int] | None
    seed: bytes
    plic: Node
    plic_sources: int
    finisher: Node
    devices: Sequence[Node]
    firmware: Sequence[Node]


def make(description: Description) -> bytes:
    """The tree as a blob (DTB).  Raises BadArgumentError for a command line that Linux would not take."""
    tree = fdt.FDT()
    _set(tree, "/", {"#address-cells": 2, "#size-cells": 2, "compatible": "penglai,machine"})
    _set(tree, "/", {"model": "pypenglai"})
    _chosen(tree, description)
    _cpu(tree)
    path = f"/memory@{description.ram:x}"
    _set(tree, path, {"device_type": "memory", "reg": _cells(description.ram, description.ram_size)})
    _soc(tree, description)
    for node in description.firmware:
        _set(tree, f"/firmware/{node.name}", {"compatible": list(node.compatible)})
        _set(tree, f"/firmware/{node.name}", {"interrupt-parent": PLIC, "interrupts": node.irq})
    return bytes(tree.to_dtb(DTB_VERSION))


def _chosen(tree: fdt.FDT, description: Description) -> None:
    if description.append:
        _set(tree, "/chosen", {"bootargs": _checked(description.append)})
    words = [int.from_bytes(description.seed[n : n + 4], "big") for n in range(0, len(description.seed), 4)]
    _set(tree, "/chosen", {"rng-seed": words})
    if description.initrd is not None:
        for name, value in zip(("start", "end"), description.initrd, strict=True):
            _set(tree, "/chosen", {f"linux,initrd-{name}": [value >> 32, value & 0xFFFF_FFFF]})


def _checked(append: str) -> str:
    """A command line that Linux takes whole."""
    if not append.isascii() or not append.isprintable():
        raise BadArgumentError(f"the kernel's command line {append!r} is not plain ASCII")
    if len(append) >= COMMAND_LINE_BYTES:
        raise BadArgumentError(
            f"the kernel's command line has {len(append)} characters; Linux takes {COMMAND_LINE_BYTES - 1}"
        )
    return append


def _cpu(tree: fdt.FDT) -> None:
    _set(tree, "/cpus", {"#address-cells": 1, "#size-cells": 0, "timebase-frequency": TIMEBASE_HZ})
    _set(tree, "/cpus/cpu@0", {"device_type": "cpu", "reg": 0, "compatible": "riscv", "status": "okay"})
    _set(tree, "/cpus/cpu@0", {"riscv,isa": "rv64imafdc", "mmu-type": "riscv,sv39"})
    path = "/cpus/cpu@0/interrupt-controller"
    _set(tree, path, {"#interrupt-cells": 1, "compatible": "riscv,cpu-intc", "phandle": CPU_INTC})
    _flag(tree, path, "interrupt-controller")


def _soc(tree: fdt.FDT, description: Description) -> None:
    _set(tree, "/soc", {"#address-cells": 2, "#size-cells": 2, "compatible": "simple-bus"})
    _flag(tree, "/soc", "ranges")
    plic = _device(tree, description.plic)
    _set(tree, plic, {"#interrupt-cells": 1, "#address-cells": 0, "phandle": PLIC})
    _set(tree, plic, {"riscv,ndev": description.plic_sources - 1})
    _set(tree, plic, {"interrupts-extended": [CPU_INTC, EXTERNAL_INTERRUPT]})
    _flag(tree, plic, "interrupt-controller")
    finisher = _device(tree, description.finisher)
    _set(tree, finisher, {"phandle": FINISHER})
    for node in description.devices:
        path = _device(tree, node)
        if node.irq:
            _set(tree, path, {"interrupt-parent": PLIC, "interrupts": node.irq})


def _device(tree: fdt.FDT, node: Node) -> str:
    path = f"/soc/{node.name}@{node.base:x}"
    _set(tree, path, {"compatible": list(node.compatible), "reg": _cells(node.base, node.size)})
    return path


def _cells(base: int, size: int) -> list[int]:
    return [base >> 32, base & 0xFFFF_FFFF, size >> 32, size & 0xFFFF_FFFF]


def _set(tree: fdt.FDT, path: str, properties: dict[str, int | str | list[int] | list[str]]) -> None:
    for name, value in properties.items():
        tree.set_property(name, value, path)


def _flag(tree: fdt.FDT, path: str, name: str) -> None:
    tree.add_item(fdt.Property(name), path)
