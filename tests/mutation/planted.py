"""Promises of the monitor and of the engines, broken one at a time by hand, with the tests that must notice.

Each mutation is one change in a copy of the source tree; the tests that hold the promise run against the
copy, and one of them must fail.  The tree itself must pass them all.  Exit status 1 if a mutation survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation.asking import ask
from tests.mutation.promise import Mutation
from tests.mutation.promises_native import NATIVE
from tests.mutation.promises_snapshots import SNAPSHOTS

ROOT = Path(__file__).parents[2]
MONITOR = "src/penglai/monitor"
PASSED, FAILED = 0, 1
"""Exit status of pytest when it has run."""


HANG = 60
"""Seconds after which a test that waits has noticed something: the PENGLAI_PATIENCE of its process."""
LONGER = 3
"""A suite that takes so many times what it takes of the whole tree, and HANG seconds more, has stopped."""
ENVIRONMENT = {"PENGLAI_PATIENCE": str(HANG), "PYTHONDONTWRITEBYTECODE": "1"}


MUTATIONS = [
    Mutation(
        "pages are scrubbed before anybody else has them",
        f"{MONITOR}/ownership.py",
        "            self._memory.clear(part)\n",
        "",
        ("tests/monitor/test_execution.py", "tests/monitor/test_create.py"),
    ),
    Mutation(
        "the image is made of pages that are the host's at the moment of the copy",
        f"{MONITOR}/ownership.py",
        "if not self._all_owned(source, HOST):",
        "if False:",
        ("tests/monitor/test_create.py", "tests/attack/test_found.py"),
    ),
    Mutation(
        "no two entries of the host's table are one table",
        f"{MONITOR}/hosttable.py",
        "if ppn in self._seen:",
        "if False:",
        ("tests/monitor/test_create.py",),
    ),
    Mutation(
        "the host's table leads to no page outside the image",
        f"{MONITOR}/hosttable.py",
        "if ((ppns < self._first) | (ppns >= self._first + self._count)).any():",
        "if False:",
        ("tests/monitor/test_create.py",),
    ),
    Mutation(
        "no page is writable and executable",
        f"{MONITOR}/hosttable.py",
        "if ((permissions & WRITABLE_CODE) == WRITABLE_CODE).any():",
        "if False:",
        ("tests/monitor/test_create.py",),
    ),
    Mutation(
        "a page that a program of the host has mapped is not given away",
        f"{MONITOR}/ownership.py",
        "if self._memory.mapped.any(pages):",
        "if False:",
        ("tests/monitor/test_relay.py",),
    ),
    Mutation(
        "a stopped enclave resumes with all its registers",
        "src/penglai/machine/state.c",
        "for (int i = 1; i < 32; i++)\n        reg_ids",
        "for (int i = 1; i < 31; i++)\n        reg_ids",
        ("tests/machine/test_contexts.py", "tests/machine/test_stops.py"),
    ),
    Mutation(
        "the life cycle is the table's: an enclave in an ocall can be stopped",
        f"{MONITOR}/lifecycle.py",
        "        State.OCALL: State.STOPPED,\n",
        "",
        ("tests/monitor/test_lifecycle.py",),
    ),
    Mutation(
        "attestation is of what rests: not while the enclave runs",
        f"{MONITOR}/lifecycle.py",
        "for state in (State.FRESH, State.STOPPED, State.IDLE",
        "for state in (State.FRESH, State.RUNNING, State.STOPPED, State.IDLE",
        ("tests/monitor/test_lifecycle.py",),
    ),
    Mutation(
        "an address that was unmapped is forgotten by the harts",
        f"{MONITOR}/platform.py",
        "            hart.flush_tlb(enclave.table.satp, ended=ended)\n",
        "            pass\n",
        ("tests/monitor/test_regions.py", "tests/monitor/test_sharing.py", "tests/monitor/test_execution.py"),
    ),
    Mutation(
        "code that was translated is forgotten when its page changes hands",
        f"{MONITOR}/platform.py",
        "                hart.invalidate(start, end)\n",
        "                pass\n",
        ("tests/monitor/test_create.py", "tests/monitor/test_execution.py", "tests/monitor/test_shadows.py"),
        engine="unicorn",  # on the native one code goes with its window
    ),
    Mutation(
        "code is translated anew when its page is stored to, at whatever address",
        "src/penglai/machine/shortcuts.c",
        "    if (*state & UNWATCHED)\n",
        "    if (0)\n",
        ("tests/machine/test_shortcuts.py",),
    ),
    Mutation(
        "nothing is executed behind a store that traps",
        "src/penglai/machine/shortcuts.c",
        "        running->leaving = cpu;\n",
        "        (void)cpu;\n",
        ("tests/machine/test_shortcuts.py",),
    ),
    Mutation(
        "when stop returns, the enclave executes nothing",
        f"{MONITOR}/execution.py",
        "        enclave.hart.interrupt()\n",
        "",
        ("tests/monitor/test_execution.py",),
    ),
    Mutation(
        "an enclave's pointers give it no more rights than it has",
        f"{MONITOR}/usermem.py",
        "pa = table.reach(address, need)",
        "pa = table.reach(address, 0)",
        ("tests/monitor/test_servers.py",),
    ),
    Mutation(
        "what was lent is the caller's again when the chain ends",
        f"{MONITOR}/servers.py",
        "        _give_back(platform, run.frames[-1])\n        _leave(platform, run)\n",
        "        _leave(platform, run)\n",
        ("tests/monitor/test_servers.py",),
    ),
    Mutation(
        "eids are never used again",
        f"{MONITOR}/registry.py",
        "number = next(self._ids)",
        "number = len(self._enclaves) + 1",
        ("tests/monitor/test_lifecycle.py",),
    ),
    Mutation(
        "a call that fails inside the monitor stops the machine",
        f"{MONITOR}/monitor.py",
        'self._bug = f"{name} failed',
        'bug = self._bug and f"{name} failed',
        ("tests/host/test_failures.py -k Bugs", "tests/attack/test_attack.py -k faults"),
    ),
    Mutation(
        "nobody meets an instance before it has started",
        f"{MONITOR}/monitor.py",
        "                held.enter_context(enclave.lock)  # whoever has guessed its eid finds it started\n",
        "",
        ("tests/attack/test_found.py",),
    ),
    Mutation(
        "a shadow's memory goes once, with its last instance",
        f"{MONITOR}/registry.py",
        "            self._retired.add(shadow)\n",
        "            self._retired.add(shadow)\n            return False\n",
        ("tests/monitor/test_shadows.py", "tests/monitor/test_lifecycle.py"),
    ),
    Mutation(
        "the host reads what it asks for, not from the end of RAM",
        "src/penglai/machine/memory.py",
        'if size < 0:\n            raise BadArgumentError(f"{size} bytes cannot be read',
        'if False:\n            raise BadArgumentError(f"{size} bytes cannot be read',
        ("tests/machine/test_memory.py",),
    ),
]


def main(only: str = "") -> int:
    """Break all of them whose promise or file contains `only`; how many nobody noticed."""
    obstacle = ask("from penglai.machine.engine import Native", 'Native.obstacle() or ""')
    there_are = MUTATIONS + SNAPSHOTS + ([] if obstacle else NATIVE)
    chosen = [each for each in there_are if only in each.promise or only in each.file]
    table = Table(title="broken promises", title_justify="left")
    for column in ("promise", "broken in", "noticed by", "seconds"):
        table.add_column(column)
    console = Console(width=None if sys.stdout.isatty() else 140)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="penglai-mutate-") as name:
        tree = Path(name)
        whole = sorted({tests for mutation in chosen for tests in mutation.tests})
        limits = {tests: LONGER * run_whole(tree, tests) + HANG for tests in whole}
        for mutation in chosen:
            begun = time.monotonic()
            noticed = try_mutation(tree, mutation, limits)
            survived += not noticed
            seconds = f"{time.monotonic() - begun:.0f}"
            table.add_row(mutation.promise, Path(mutation.file).name, noticed or "NOBODY", seconds)
            print(f"{seconds:>4} s  {mutation.promise}: {noticed or 'NOBODY'}", flush=True)  # noqa: T201
    console.print(table)
    console.print(f"{len(chosen)} promises broken, {len(chosen) - survived} noticed")
    return survived


def run_whole(tree: Path, tests: str) -> float:
    """Seconds that tests take if nothing is broken."""
    begun = time.monotonic()
    status, failed = run(tree, None, tests, None)
    if status != PASSED:
        raise SystemExit(f"the tree itself fails {tests}: {failed}")
    return time.monotonic() - begun


def try_mutation(tree: Path, mutation: Mutation, limits: Mapping[str, float]) -> str:
    """The test that noticed, or an empty text.  limits: seconds for each of its tests."""
    for tests in mutation.tests:
        status, failed = run(tree, mutation, tests, limits[tests])
        if status == FAILED:
            return failed
        if status != PASSED:
            raise SystemExit(f"pytest {tests} could not run: {failed}")
    return ""


def run(tree: Path, mutation: Mutation | None, tests: str, limit: float | None) -> tuple[int, str]:
    """Exit status of pytest against a copy of the tree, and its first failure."""
    source = tree / "src"
    engine = {"PENGLAI_ENGINE": mutation.engine} if mutation and mutation.engine else {}
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    if mutation is not None:
        path = tree / mutation.file
        text = path.read_text()
        assert text.count(mutation.before) == 1, f"{mutation.promise}: the place is not there once"
        path.write_text(text.replace(mutation.before, mutation.after))
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
    with tempfile.TemporaryFile("w+") as output:
        try:
            status = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *tests.split()],
                cwd=ROOT,
                env={**os.environ, **ENVIRONMENT, **engine, "PYTHONPATH": str(source)},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = FAILED  # a test that has failed may leave a hart at work for ever
        if status < 0:
            return FAILED, f"signal {-status}"  # what was broken broke the process
        output.seek(0)
        text = output.read()
    failed = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
    what = failed[0].partition(" - ")[0].rpartition("::")[2] if failed else text[-300:]
    return status, what
