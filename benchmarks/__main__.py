"""make bench: the life cycle and the calls, with the peer that a host would otherwise use beside them."""

import argparse
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

import penglai
from benchmarks import linux
from benchmarks.measure import Series
from penglai.sdk.build import build_demo

BEAT = "import os\nwhile True: os.getpid()"


def life_cycle(rounds: int, harts: int) -> list[Series]:
    """Create, start, stop, resume and destroy of `loop`, with every hart busy."""
    names = ("create loop", "start", "stop", "resume", "stop again", "destroy running", "destroy fresh")
    series = {name: Series(f"{name} ({harts} busy harts)") for name in names}
    loop = build_demo("loop").read_bytes()
    pause = random.Random(1)
    with penglai.Machine(harts=harts) as machine:
        for _ in range(harts - 1):
            machine.create(loop).start()
        for _ in range(rounds):
            made: list[penglai.Enclave] = []
            series["create loop"].time(lambda made=made: made.append(machine.create(loop)))
            enclave = made[0]
            series["start"].time(enclave.start)
            time.sleep(pause.uniform(0.0005, 0.003))
            series["stop"].time(enclave.stop)
            series["resume"].time(enclave.resume)
            time.sleep(pause.uniform(0.0005, 0.003))
            series["stop again"].time(enclave.stop)
            enclave.resume()
            time.sleep(pause.uniform(0.0005, 0.003))
            series["destroy running"].time(enclave.destroy)
            spare = machine.create(loop)
            series["destroy fresh"].time(spare.destroy)
    return list(series.values())


def calls(rounds: int) -> list[Series]:
    """Whole runs that make many calls; per call."""
    found = []
    source = Path(__file__).with_name("calls.c")
    for kind in ("OWN_ID", "WRITE", "YIELD", "SBRK"):
        program = penglai.build(source, f"/tmp/penglai-bench-{kind}", [f"-D{kind}", f"-DROUNDS={rounds}UL"])
        series = Series(
            {"OWN_ID": "get_enclave_id", "WRITE": "ocall write", "YIELD": "yield", "SBRK": "sbrk"}[kind]
        )
        with penglai.Machine(harts=1) as machine:
            for _ in range(5):
                enclave = machine.create(program)
                enclave.run()
                series.times.append(enclave.info().run_time // rounds)
        program.unlink()
        found.append(series)
    return found


def server_calls(rounds: int) -> list[Series]:
    """Calls of a server and back, per call, by the size of the pages that go with them."""
    here = Path(__file__).parent
    found = []
    with tempfile.TemporaryDirectory() as directory, penglai.Machine(harts=1) as machine:
        server = penglai.build(here / "server.c", Path(directory, "server"))
        machine.create(server, name="server", kind="server")
        for size, name in ((0, "register"), (16 << 10, "16 KiB"), (16 << 20, "16 MiB")):
            flags = [f"-DSIZE={size}UL", f"-DROUNDS={rounds}UL"]
            caller = penglai.build(here / "caller.c", Path(directory, "caller"), flags)
            series = Series(f"server call and return, {name}")
            for _ in range(5):
                enclave = machine.create(caller)
                assert enclave.run().value == rounds
                series.times.append(enclave.info().run_time // rounds)
            found.append(series)
    return found


def shadows(rounds: int) -> list[Series]:
    """An instance of a shadow beside an enclave that is created, each run to its end; and attestation."""
    names = ("create and run hello-world", "instance of a shadow, run", "create shadow", "attest")
    series = {name: Series(name) for name in names}
    hello = build_demo("hello-world").read_bytes()
    with penglai.Machine(harts=1) as machine:
        shadow = machine.create(hello, kind="shadow")
        shadow.attest(0)
        for nonce in range(rounds):
            series[names[0]].time(lambda: machine.create(hello).run())
            series[names[1]].time(shadow.run)
            made: list[penglai.Enclave] = []
            series[names[2]].time(lambda made=made: made.append(machine.create(hello, kind="shadow")))
            made[0].destroy()
            series[names[3]].time(lambda nonce=nonce: shadow.attest(nonce))
    return list(series.values())


def host_process(rounds: int) -> list[Series]:
    """The peer: a process of the operating system, stopped, continued and killed."""
    names = ("fork+exec", "SIGSTOP to stopped", "SIGCONT", "SIGKILL to gone")
    series = {name: Series(f"OS process: {name}") for name in names}
    for _ in range(rounds):
        made: list[subprocess.Popen[bytes]] = []
        series["fork+exec"].time(
            lambda made=made: made.append(subprocess.Popen([sys.executable, "-c", BEAT]))
        )
        process = made[0]
        time.sleep(0.02)
        series["SIGSTOP to stopped"].time(lambda process=process: _stop(process))
        series["SIGCONT"].time(lambda process=process: process.send_signal(signal.SIGCONT))
        series["SIGKILL to gone"].time(lambda process=process: (process.kill(), process.wait()))
    return list(series.values())


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    status = Path(f"/proc/{process.pid}/stat")
    while status.read_text().rpartition(")")[2].split()[0] != "T":
        pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--linux", type=int, metavar="BOOTS", default=10, help="Linux as the host; 0: not")
    parser.add_argument(
        "--idle", type=int, metavar="SECONDS", default=20, help="watch the timer of Linux for so long"
    )
    options = parser.parse_args()
    parts: list[Callable[[], list[Series]]] = [
        lambda: life_cycle(options.rounds, 1),
        lambda: life_cycle(options.rounds, 2),
        lambda: calls(20_000),
        lambda: server_calls(1_000),
        lambda: shadows(min(options.rounds, 200)),
        lambda: host_process(min(options.rounds, 100)),
    ]
    rows = [series for part in parts for series in part()]
    table = Table(
        title=f"Times in µs, {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    table.add_column("what")
    for column in ("n", "p10", "median", "p90", "p99", "max"):
        table.add_column(column, justify="right")
    for series in rows:
        figures = series.summary()
        cells = (f"{figures[column]:.1f}" for column in ("p10", "median", "p90", "p99", "max"))
        table.add_row(series.name, str(len(series.times)), *cells)
    Console(width=110).print(table)
    found: dict[str, dict[str, float]] = {series.name: series.summary() for series in rows}
    if options.linux:
        found |= linux.main(options.linux, options.idle)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
