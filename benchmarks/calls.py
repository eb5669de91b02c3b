"""What an enclave's calls cost it, each call timed by the enclave itself."""

import numpy as np

import penglai
from benchmarks.floors import Round
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import enclave
from penglai.abi.riscv import NS_PER_TICK

KINDS = {
    "OWN_ID": "get_enclave_id",
    "OCALL": "ocall",
    "REFLECTED": "reflected system call",
    "YIELD": "yield",
    "SBRK": "sbrk",
}
RELAY = {"registers": 0, "16 KiB": 16 << 10, "16 MiB": 16 << 20}
LIMITS = {
    "get_enclave_id": 3,
    "ocall": 14,
    "reflected system call": 7,
    "server call and return, registers": 25,
}
"""In empty rounds."""
FLOOR = "an empty round"
BATCHES = 40


def measure(report: Report, effort: Effort) -> None:
    rounds = effort.rounds(10_000, 50)
    empty = Round()
    medians = measure_kinds(report, rounds, empty)
    report.times("an empty round, from a program to Python and back", empty.times)
    for name, limit in LIMITS.items():
        report.bar(f"{name}, to {FLOOR}", medians[name] / empty.times.p50, limit, "x")
    pages, few = (medians[f"server call and return, {size}"] for size in ("16 MiB", "16 KiB"))
    report.bar("server call with 16 MiB of pages, to one with 16 KiB", pages / few, 5, "x")
    empty.close()


def measure_kinds(report: Report, rounds: int, empty: Round) -> dict[str, float]:
    """The median of each kind of call, in µs; empty rounds are measured in turns with them."""
    medians = {}
    with penglai.Machine("128M", harts=1, state=None) as machine:
        clock = run(machine, rounds, "NOTHING").p50
        report.figure("reading the time in an enclave (deducted below)", clock, "µs")
        kinds: dict[str, tuple[int, str, list[str]]] = {
            name: (rounds, kind, []) for kind, name in KINDS.items()
        }
        machine.create(enclave("server.c"), name="server", kind="server")
        for name, size in RELAY.items():
            count = rounds // 10 if size > 1 << 20 else rounds
            kinds[f"server call and return, {name}"] = count, "SERVER", [f"-DSIZE={size}UL"]
        for name, (count, kind, flags) in kinds.items():
            for _ in range(BATCHES):
                empty.measure()
            series = run(machine, count, kind, *flags, less=clock)
            report.times(name, series)
            medians[name] = series.p50
    return medians


def run(machine: penglai.Machine, rounds: int, kind: str, *flags: str, less: float = 0) -> Series:
    """Calls of one kind.  less: µs to deduct from each."""
    program = enclave("calls.c", f"-D{kind}", f"-DROUNDS={rounds}UL", *flags)
    memory = machine.shared_memory(4 * rounds)
    result = machine.create(program, shm=memory).run()
    assert result.value == rounds, f"{kind}: {result}"
    ticks = np.frombuffer(bytes(memory)[: 4 * rounds], dtype="<u4").astype(int)
    machine.free(memory)
    return Series([max(0, int(tick) * NS_PER_TICK - round(less * 1000)) for tick in ticks])
