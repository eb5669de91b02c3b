"""penglai fuzz."""

import hashlib
import time
from pathlib import Path
from typing import Annotated

import typer

from penglai.abi.errors import BadArgumentError
from penglai.cli.measuring import TraceTo, tracing
from penglai.cli.numbers import count, seconds
from penglai.cli.options import Memory, command, err, fail, out
from penglai.debug.coverage import Coverage
from penglai.embedded import Machine
from penglai.sdk.images import find_image
from penglai.testing.batches import End, Target
from penglai.testing.fuzzing import Failure, Fuzzer
from penglai.testing.mutating import Mutator

STATUS_SECONDS = 2.0


@command
def fuzz(
    eapp: Annotated[str, typer.Argument(help="An enclave ELF that is linked with -lfuzz.", metavar="EAPP")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE|DIR]...",
            help="Files: these inputs alone.  Directories: inputs to begin with; new ones go into the first.",
        ),
    ] = None,
    runs: Annotated[
        int | None, typer.Option(help="Stop after so many executions.", parser=count(0), metavar="N")
    ] = None,
    for_seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="Stop after so many seconds.", parser=seconds, metavar="SECONDS"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.", parser=count(0), metavar="N")] = 1,
    longest: Annotated[
        int, typer.Option("--max-len", help="Bytes of an input, at most.", parser=count(1), metavar="N")
    ] = 4096,
    batch: Annotated[
        int, typer.Option(help="Inputs for each instance of the enclave.", parser=count(1), metavar="N")
    ] = 64,
    timeout: Annotated[
        float, typer.Option(help="Seconds for a batch.", parser=seconds, metavar="SECONDS")
    ] = 10.0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the input of a failure goes.", metavar="DIR")
    ] = Path(),
    memory: Memory = "256M",
    coverage: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there what was executed, as lcov does.")
    ] = None,
    trace: TraceTo = None,
) -> None:
    """Look for inputs with which an enclave's LLVMFuzzerTestOneInput fails, led by what is executed.

    It runs in instances of a shadow.  The exit status is 1 if an input was found, which is then in a file.
    """
    image = find_image(eapp)
    files = [path for path in inputs or [] if not path.is_dir()]
    directories = [path for path in inputs or [] if path.is_dir()]
    contents = [_read(path) for path in files]
    known = [_read(path) for each in directories for path in sorted(each.iterdir()) if path.is_file()]
    room = max([longest, *map(len, contents), *map(len, known)])
    sampling = trace is not None
    with (
        Machine(memory, 1, coverage=True, sampling=sampling, state=None) as machine,
        tracing(machine, trace),
    ):
        target = Target(machine, image, longest=room, most=max(batch, 1), timeout=timeout)
        if files:
            _try_alone(target, files, contents)
            return
        fuzzer = Fuzzer(target, machine.coverage, known, Mutator(seed, longest), batch)
        failure = fuzzer.run(Progress(fuzzer, runs, for_seconds))
        _store(fuzzer.corpus[1 + len(known) :], directories[:1])
        _tell(fuzzer)
        if coverage is not None:
            _write(machine.coverage, coverage)
        if failure is not None:
            _report(failure, target, output)


class Progress:
    """Says now and then how far it is, and whether it is enough.

    runs, for_seconds: after how many executions, or when; None: never.
    """

    def __init__(self, fuzzer: Fuzzer, runs: int | None, for_seconds: float | None) -> None:
        self._fuzzer = fuzzer
        self._runs = runs
        self._begun = self._said = time.monotonic()
        self._end = None if for_seconds is None else self._begun + for_seconds
        self._executions = 0

    def __call__(self) -> bool:
        """Whether it is enough."""
        now, fuzzer = time.monotonic(), self._fuzzer
        if now - self._said >= STATUS_SECONDS:
            speed = (fuzzer.executions - self._executions) / (now - self._said)
            self._said, self._executions = now, fuzzer.executions
            _tell(fuzzer, f", {speed:.0f} executions a second")
        over = self._end is not None and now >= self._end
        return over or (self._runs is not None and fuzzer.executions >= self._runs)


def _tell(fuzzer: Fuzzer, more: str = "") -> None:
    err.print(
        f"{fuzzer.executions} executions, {len(fuzzer.corpus)} inputs, {fuzzer.ways} ways{more}", style="dim"
    )


def _try_alone(target: Target, files: list[Path], contents: list[bytes]) -> None:
    for path, data in zip(files, contents, strict=True):
        end = target.execute([data])
        if end.failed:
            _explain(end, target.output())
            fail(f"{path}: {end.failed}")
        out.print(f"{path}: nothing is wrong with it", markup=False, highlight=False)


def _report(failure: Failure, target: Target, directory: Path) -> None:
    """Write the input into a file, say what happened, and end with status 1."""
    written = [_save(each, directory, "crash-") for each in failure.inputs]
    _explain(failure.end, target.output())
    after = "" if len(written) == 1 else f", after {len(written) - 1} others in one instance"
    fail(f"it fails with {written[-1]}{after}: {failure.end.failed}")


def _explain(end: End, output: bytes) -> None:
    err.print(output.decode("utf-8", "replace"), end="", markup=False, highlight=False)
    if end.fault is not None:
        err.print(end.fault.explain(), markup=False, highlight=False)


def _store(inputs: list[bytes], directories: list[Path]) -> None:
    for directory in directories:
        for each in inputs:
            _save(each, directory, "")


def _save(data: bytes, directory: Path, prefix: str) -> Path:
    """Write an input into a file, whose name tells it from others."""
    path = directory / f"{prefix}{hashlib.sha256(data).hexdigest()[:16]}"
    try:
        path.write_bytes(data)
    except OSError as error:
        raise BadArgumentError(f"cannot write {path}: {error.strerror}") from error
    return path


def _write(coverage: Coverage, path: Path) -> None:
    err.print(f"wrote {path}: {coverage.write(path)}", style="dim")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadArgumentError(f"cannot read {path}: {error.strerror}") from error


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("fuzz")(fuzz)
