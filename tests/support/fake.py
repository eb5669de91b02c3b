"""An engine in a few lines of Python, on which the monitor's tests need neither compiler nor Unicorn.

It executes assembler text as it is written, a line at each 4 bytes: li, mv, addi, ld, sd, j and ecall.
"""

import threading
from functools import cache
from typing import Any

from penglai.abi.riscv import PAGE_SIZE, Cause, Pte
from penglai.machine import Clock, Context, PhysicalMemory
from penglai.machine.context import RunRecord

WORD = (1 << 64) - 1
INSTRUCTIONS = ("li", "mv", "addi", "ld", "sd", "j", "ecall")


class BeyondTheFakeError(Exception):
    """A program that it cannot execute."""


@cache
def lines_of(page: bytes) -> tuple[list[list[str]], dict[str, int]]:
    """The instructions on a page, each split into words, and the numbers of those that have a label."""
    lines, labels = [], {}
    for line in page.rstrip(b"\0").decode().splitlines():
        label, _, text = line.rpartition(":")
        if label:
            labels[label] = len(lines)
        lines += [text.replace(",", " ").replace("(", " ").replace(")", " ").split()] if text.strip() else []
    return lines, labels


class FakeCore:
    """One hart's part of it."""

    def __init__(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> None:
        self.memory, self.clock, self.record = memory, clock, record
        self.wanted, self.running = threading.Event(), threading.Lock()

    def run(self, context: Context, /) -> int:
        with self.running:
            record = self.record
            record.cause, record.tval = Cause.M_SOFTWARE_INTERRUPT, 0
            while context.owner == record.owner and not self.wanted.is_set():
                late = self.clock.now() >= record.deadline
                try:
                    cause = Cause.M_TIMER_INTERRUPT if late else self.step(context)
                except (AttributeError, LookupError, TypeError, ValueError) as error:
                    raise BeyondTheFakeError(f"what is at {context.pc:#x} is not in its language") from error
                if cause is not None:
                    record.cause, record.epc = cause, context.pc
                    break
        return 0

    def step(self, context: Context) -> Cause | None:
        """Execute one instruction, or say why not."""
        text = self.find(context, context.pc, Pte.X)
        page = None if text is None else self.memory.read(text & -PAGE_SIZE, PAGE_SIZE)
        lines, labels = lines_of(page or b"")
        index = context.pc % PAGE_SIZE // 4
        if index >= len(lines):
            return self.fault(context.pc, Cause.ILLEGAL_INSTRUCTION if page else Cause.FETCH_PAGE_FAULT)
        name, *words = lines[index]
        get = lambda word: 0 if word == "x0" else getattr(context, word)  # noqa: E731
        if name == "ecall":
            return Cause.ECALL_U
        if name == "j":
            context.pc += 4 * (labels[words[0].rstrip("bf")] - index)
            return None
        if name in {"ld", "sd"}:
            address = get(words[2]) + int(words[1], 0) & WORD
            place = self.find(context, address, Pte.R if name == "ld" else Pte.W)
            if place is None:
                return self.fault(address, Cause.LOAD_PAGE_FAULT if name == "ld" else Cause.STORE_PAGE_FAULT)
            if name == "sd":
                self.memory.write(place, int(get(words[0])).to_bytes(8, "little"))
            else:
                setattr(context, words[0], int.from_bytes(self.memory.read(place, 8), "little"))
        else:
            value = {"li": lambda n: int(n, 0), "mv": get, "addi": lambda a, n: get(a) + int(n, 0)}
            setattr(context, words[0], value[name](*words[1:]) & WORD)
        context.pc += 4
        return None

    def fault(self, address: int, cause: Cause) -> Cause:
        self.record.tval = address
        return cause

    def find(self, context: Context, address: int, right: Pte) -> int | None:
        """The physical address, if the page table has it with this right."""
        table = context.satp << 12 & (1 << 56) - 1
        for shift in (30, 21, 12):
            entry = self.memory.flat_words[(table - self.memory.base) // 8 + (address >> shift & 511)]
            if not entry & Pte.V:
                return None
            table = entry >> 10 << 12
        return table | address % PAGE_SIZE if entry & right else None

    def interrupt(self) -> None:
        self.wanted.set()
        with self.running:
            pass

    def acknowledge(self) -> None:
        self.wanted.clear()

    def flush(self, _space: int, _ended: bool, /) -> None:
        """Nothing is kept that could be stale."""

    def invalidate(self, _start: int, _end: int) -> int:
        return 0

    def forget(self, _start: int, _end: int, /) -> None:
        """Nothing is kept for later."""

    def begin_thread(self) -> None:
        """Any thread will do."""


class FakeEngine:
    name = "fake"
    open: Any = FakeCore

    def describe(self) -> str:
        return "fake, for tests of what is above it"

    def extensions(self) -> str:
        return "seven instructions"

    def counts(self) -> dict[str, int]:
        return {}

    @staticmethod
    def assemble(text: str) -> bytes:
        """Code for it."""
        code = text.encode()
        lines, labels = lines_of(code)
        for name, *words in lines:
            if name not in INSTRUCTIONS or (name == "j" and words[0].rstrip("bf") not in labels):
                raise BeyondTheFakeError(f"the fake engine has no {name} {', '.join(words)}")
        if len(code) > PAGE_SIZE:
            raise BeyondTheFakeError("the fake engine has one page for code")
        return code
