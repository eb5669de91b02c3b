"""What of the programs of a machine was executed, by address and by line."""

import hashlib
import threading
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from penglai.abi.errors import BadArgumentError
from penglai.debug.images import Images
from penglai.debug.lcov import Line, Tracefile
from penglai.debug.owners import Owners
from penglai.debug.symbols import Program
from penglai.machine.context import Context
from penglai.machine.coverage import HALFWORD, Counters, Counting, Counts

MOST_TEXT = 64 << 20
"""Bytes: of a program with more code nothing is counted."""

BRANCH, C_BRANCH = 0x63, 0xC001
"""Conditional branches: their opcode, and what c.beqz and c.bnez have in common (RISC-V unprivileged ISA)."""


class Covered:
    """A program, and what each hart has counted of it."""

    def __init__(self, data: bytes) -> None:
        self.program = Program(data)
        self._counters: dict[int, Counters | None] = {}

    def counters(self, hart: int) -> Counters | None:
        """Where this hart counts; None if there is too much code, or none."""
        if hart not in self._counters:
            code = self.program.code
            start, end = min(code, default=(0, 0))[0], max((end for _, end in code), default=0)
            fits = 0 < end - start <= MOST_TEXT
            self._counters[hart] = Counters(start, end) if fits else None
        return self._counters[hart]

    @property
    def fresh(self) -> int:
        """See Counters.fresh."""
        return sum(each.fresh for each in self.there())

    def total(self) -> "Total | None":
        """What all harts have counted together; None if nothing was executed."""
        there = self.there()
        if not there:
            return None
        executed, passed, jumped = there[0].executed, there[0].passed.copy(), there[0].jumped.copy()
        for each in there[1:]:
            executed += each.executed
            passed += each.passed
            jumped += each.jumped
        return Total(int(there[0].record.start), executed, passed, jumped)

    def branches(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Conditional branches among the instructions of [start, end): address, and size in bytes."""
        while start < end:
            low = self.program.halfword(start)
            if low is None:
                return
            size = 4 if low & 3 == 3 else 2
            if low & 0x7F == BRANCH or (size == 2 and low & 0xC003 == C_BRANCH):
                yield start, size
            start += size

    def there(self) -> list[Counters]:
        """What each hart has counted that has run it."""
        return [each for each in list(self._counters.values()) if each is not None]


class Total(NamedTuple):
    """Counts by halfword from address `start` on; see Counters."""

    start: int
    executed: Counts
    passed: Counts
    jumped: Counts

    def at(self, address: int) -> int:
        """How often the instruction at an address was executed."""
        index = (address - self.start) // HALFWORD
        return int(self.executed[index]) if 0 <= index < len(self.executed) else 0

    def ways(self, address: int, size: int) -> tuple[int, int]:
        """How often a branch of `size` bytes was taken, and how often it was not."""
        last = (address - self.start + size) // HALFWORD - 1
        return int(self.jumped[last]), int(self.passed[last])


class Coverage:
    """What enclaves of a machine have executed, since it was made: of `Machine(coverage=True)`.

    images: the programs.
    """

    def __init__(self, images: Images) -> None:
        self.owners = Owners()
        self.engine = Counting(self._choose)
        """What executes on such a machine."""
        self._images = images
        self._lock = threading.Lock()
        self._covered: dict[bytes, Covered] = {}
        self._known: dict[int, tuple[Context, Covered | None]] = {}

    def _choose(self, hart: int, context: Context) -> Counters | None:
        """See machine.coverage.Choice."""
        known = self._known.get(context.satp)
        if known is None or known[0] is not context:
            known = self._known[context.satp] = (context, self._covered_by(context))
        return known[1].counters(hart) if known[1] is not None else None

    @property
    def fresh(self) -> int:
        """It grows when something is executed for the first time: a block of code, or a way out of one."""
        return sum(each.fresh for each in list(self._covered.values()))

    def ways(self) -> Counts:
        """How often each way out of each block of code was taken, of all programs and harts.

        What is asked again is as long, or longer, and has the same ways at the same places.
        """
        there = [counters for each in list(self._covered.values()) for counters in each.there()]
        return np.concatenate(
            [np.zeros(0, np.int64), *(way for each in there for way in (each.passed, each.jumped))]
        )

    def write(self, path: str | PathLike[str], *, append: bool = False) -> str:
        """Write it as lcov does, for genhtml and other viewers; a summary in words.

        Of programs that were built with -g, since the others do not tell lines.  append: add to the numbers
        that the file has, if it is there; else it is written over.

        Raises BadArgumentError if the file cannot be read or written, or is no such file.
        """
        target = Path(path)
        found = Tracefile()
        try:
            if append and target.exists():
                found.read(target.read_text(encoding="utf-8"))
            for each in list(self._covered.values()):
                _describe(each, found)
            target.write_text(found.text(), encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadArgumentError(f"cannot write the coverage to {target}: {reason}") from error
        return found.summary()

    def _covered_by(self, context: Context) -> Covered | None:
        record = self.owners.find(context)
        data = self._images.find((record.template or record).eid) if record is not None else None
        if data is None:
            return None
        key = hashlib.sha256(data).digest()
        with self._lock:
            if key not in self._covered:
                self._covered[key] = Covered(data)
            return self._covered[key]


def _describe(covered: Covered, found: Tracefile) -> None:
    """Add the lines, branches and functions of a program to a file."""
    total = covered.total()
    if total is None:
        return
    lines: dict[Line, int] = {}
    ways: dict[Line, dict[int, tuple[int, int]]] = {}
    starts: dict[int, Line] = {}
    for row in covered.program.rows():
        line = Line(str(Path(row.directory, row.file)), row.line)
        lines[line] = max(lines.get(line, 0), total.at(row.start))
        starts.setdefault(row.start, line)
        of_line = ways.setdefault(line, {})
        of_line |= {branch: total.ways(branch, size) for branch, size in covered.branches(row.start, row.end)}
    for line, times in lines.items():
        found.add_line(line, times)
        found.add_branches(line, [ways[line][branch] for branch in sorted(ways[line])])
    for symbol in covered.program.functions:
        if symbol.address in starts:
            found.add_function(starts[symbol.address], symbol.name, total.at(symbol.address))
