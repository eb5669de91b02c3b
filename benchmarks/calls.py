"""What an enclave's calls cost it, each call timed by the enclave itself."""

import numpy as np

import penglai
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
LIMITS = {"ocall": 10, "reflected system call": 10}


def measure(report: Report, effort: Effort) -> None:
    rounds = effort.rounds(10_000, 50)
    with penglai.Machine("128M", harts=1, state=None) as machine:
        clock = run(machine, rounds, "NOTHING").p50
        report.figure("reading the time in an enclave (deducted below)", clock, "µs")
        for kind, name in KINDS.items():
            series = run(machine, rounds, kind, less=clock)
            report.times(name, series)
            if name in LIMITS:
                report.bar(name, series.p50, LIMITS[name])
        machine.create(enclave("server.c"), name="server", kind="server")
        medians = {}
        for name, size in RELAY.items():
            count = rounds // 10 if size > 1 << 20 else rounds
            series = run(machine, count, "SERVER", f"-DSIZE={size}UL", less=clock)
            report.times(f"server call and return, {name}", series)
            medians[name] = series.p50
    report.bar("server call and return, registers", medians["registers"], 20)
    report.bar("relay of 16 MiB, beyond that of 16 KiB", medians["16 MiB"] - medians["16 KiB"], 200)


def run(machine: penglai.Machine, rounds: int, kind: str, *flags: str, less: float = 0) -> Series:
    """Calls of one kind.  less: µs to deduct from each."""
    program = enclave("calls.c", f"-D{kind}", f"-DROUNDS={rounds}UL", *flags)
    memory = machine.shared_memory(4 * rounds)
    result = machine.create(program, shm=memory).run()
    assert result.value == rounds, f"{kind}: {result}"
    ticks = np.frombuffer(bytes(memory)[: 4 * rounds], dtype="<u4").astype(int)
    machine.free(memory)
    return Series([max(0, int(tick) * NS_PER_TICK - round(less * 1000)) for tick in ticks])
