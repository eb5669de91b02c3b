"""A profile of time, in the forms that viewers open.

By the name of the file: speedscope's JSON (https://www.speedscope.app/file-format-schema.json), or, for names
that end in .perf, text as `perf script` prints it, which Perfetto, the Firefox Profiler and others read too.
"""

import functools
import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from penglai.abi.errors import BadArgumentError
from penglai.debug.backtrace import frames_in
from penglai.debug.images import Images
from penglai.debug.sampling import Sample, Samples, Sampling
from penglai.debug.spans import Seen, Span, spans
from penglai.debug.stack import Snapshot
from penglai.debug.symbols import Program
from penglai.driver.fault import Frame
from penglai.machine.engine import Engine

PERF = ".perf"
SCHEMA = "https://www.speedscope.app/file-format-schema.json"


class TimeProfile:
    """Where the time of enclaves went, since the machine was made: of `Machine(sampling=True)`.

    images: the programs.
    """

    def __init__(self, images: Images) -> None:
        self.samples = Samples()
        self._images = images
        self._programs = functools.cache(self._open)

    def sampled(self, engine: Engine) -> Engine:
        """An engine, whose harts are sampled for this."""
        return Sampling(engine, self.samples)

    def write(self, path: str | PathLike[str]) -> str:
        """Write it; how much it is, in words.

        A name that ends in .perf makes it text as perf script's; all others speedscope's.

        Raises BadArgumentError if the file cannot be written.
        """
        stacks = [Stack(each, list(self._frames(each))) for each in self.samples.kept()]
        text = _perf(stacks) if Path(path).suffix == PERF else _speedscope(stacks)
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise BadArgumentError(f"cannot write {path}: {error.strerror}") from error
        total = sum(stack.sample.weight for stack in stacks)
        return f"{len(stacks)} samples of {total / 1e6:.0f} ms"

    def spans(self, since: int) -> Iterator[tuple[int, Span]]:
        """Which functions were under way from a time of the clock on, ns: of which enclave, and when."""
        of: dict[int, list[Seen]] = {}
        for sample in self.samples.kept():
            start = max(sample.time - sample.weight, since)
            if sample.time > start:
                names = [_served(frame, sample) for frame in self._frames(sample)][::-1]
                of.setdefault(sample.eid, []).append(Seen(start, sample.time, names))
        return ((eid, span) for eid, seen in of.items() for span in spans(seen))

    def _frames(self, sample: Sample) -> Iterator[Frame]:
        for seen in sample.enclaves:
            yield from self._of_one(seen)

    def _of_one(self, seen: Snapshot) -> Iterator[Frame]:
        program = self._programs(seen.eid)
        if program is None:
            yield Frame(seen.label, seen.pc, "", "", 0)
        else:
            yield from frames_in(seen, program)

    def _open(self, eid: int) -> Program | None:
        data = self._images.find(eid)
        return Program(data) if data is not None else None


class Stack(NamedTuple):
    """A sample with what led there, the innermost call first."""

    sample: Sample
    frames: list[Frame]

    @property
    def label(self) -> str:
        """Whose time it is: the last caller's."""
        return self.sample.enclaves[-1].label if self.sample.enclaves else "unknown"


def _name(frame: Frame) -> str:
    return frame.function or f"{frame.pc:#x}"


def _served(frame: Frame, sample: Sample) -> str:
    """A function's name, with the server's in front if it is one's."""
    own = frame.enclave == sample.enclaves[-1].label
    return _name(frame) if own else f"{frame.enclave}: {_name(frame)}"


def _speedscope(stacks: list[Stack]) -> str:
    """A profile for each enclave; servers are below their callers, with their own names in front."""
    numbers: dict[tuple[str, str, int], int] = {}
    samples: dict[str, list[list[int]]] = {}
    weights: dict[str, list[int]] = {}
    for stack in stacks:
        row = []
        for frame in reversed(stack.frames):
            key = (_served(frame, stack.sample), frame.file, frame.line)
            row.append(numbers.setdefault(key, len(numbers)))
        samples.setdefault(stack.label, []).append(row)
        weights.setdefault(stack.label, []).append(stack.sample.weight)
    profiles = [
        {
            "type": "sampled",
            "name": label,
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": sum(weights[label]),
            "samples": rows,
            "weights": weights[label],
        }
        for label, rows in samples.items()
    ]
    frames = [
        {"name": name, "file": file, "line": line} if file else {"name": name} for name, file, line in numbers
    ]
    return json.dumps({"$schema": SCHEMA, "shared": {"frames": frames}, "profiles": profiles})


def _perf(stacks: list[Stack]) -> str:
    return "\n".join(map(_event, stacks))


def _event(stack: Stack) -> str:
    """One sample: a head, and a line for each call."""
    sample = stack.sample
    eid, name = sample.eid, stack.label.removeprefix(f"enclave {sample.eid}").strip()
    seconds, ns = divmod(sample.time, 10**9)
    when = f"{seconds}.{ns // 1000:06}"
    head = f"{name or 'enclave'} {eid}/{eid} [{sample.hart:03}] {when}: {sample.weight} cpu-clock:"
    calls = (f"\t{frame.pc:16x} {_name(frame)} ({_whose(frame)})" for frame in stack.frames)
    return "\n".join([head, *calls, ""])


def _whose(frame: Frame) -> str:
    return frame.enclave.replace(" ", "-")
