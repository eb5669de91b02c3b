"""Inputs for a program that is fuzzed, and how it ends with them: an instance of a shadow for each batch."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from penglai.abi.errors import BadArgumentError, WaitTimeoutError
from penglai.driver.fault import Fault
from penglai.driver.task import Reason, Result
from penglai.embedded import Machine
from penglai.host.image import Image

HEAD = struct.Struct("<QQQ")
"""Of the shared memory, as fuzz.c has it: bytes behind it, inputs, how many have been begun."""

SIZE = struct.Struct("<Q")
ABORTED = 128
"""A value from here on: abort() and its like."""


@dataclass(frozen=True)
class End:
    """How a batch ended.

    begun: how many inputs were begun, so that the last of these is to blame.  failed: whether it was no good
    end, and what: in words.  fault: if it was one.
    """

    begun: int
    failed: str = ""
    fault: Fault | None = None


class Target:
    """A program linked with -lfuzz, on a machine that counts what is executed.

    longest: bytes of an input.  most: inputs of a batch.  timeout: seconds for a batch.
    """

    def __init__(self, machine: Machine, image: Image, *, longest: int, most: int, timeout: float) -> None:
        self._timeout = timeout
        self._machine = machine
        self._memory = machine.shared_memory(HEAD.size + most * (SIZE.size + longest))
        self._shadow = machine.create(image, kind="shadow", shm=self._memory)

    def execute(self, inputs: Sequence[bytes]) -> End:
        """Run the program on these, one after the other in one instance.

        Raises BadArgumentError if it is no program that is to be fuzzed.
        """
        text = b"".join(SIZE.pack(len(each)) + each for each in inputs)
        self._memory[0 : HEAD.size + len(text)] = HEAD.pack(len(text), len(inputs), 0) + text
        run = self._shadow.start()
        try:
            result = run.result(self._timeout)
        except WaitTimeoutError:
            run.enclave.destroy()
            return End(self._begun(), f"it takes longer than {self._timeout:g} seconds")
        return self._end(result, len(inputs))

    def output(self) -> bytes:
        """What it has written since it was asked last."""
        return self._machine.console.read()

    def _begun(self) -> int:
        return int(HEAD.unpack(bytes(self._memory[0 : HEAD.size]))[2])

    def _end(self, result: Result, count: int) -> End:
        begun = self._begun()
        if result.reason is Reason.FAULTED:
            return End(begun, str(result.fault), result.fault)
        if result.value:
            aborted = "it gave up" if result.value >= ABORTED else "it ended by itself"
            return End(begun, f"{aborted}, with the value {result.value}")
        if begun != count:
            raise BadArgumentError(
                "it has looked at no input: define LLVMFuzzerTestOneInput, not main, and link it with -lfuzz"
            )
        return End(begun)
