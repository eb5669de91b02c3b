"""The Python API for asyncio: what may take long is awaited, and everything else is as it was.

A module of its own, and not a second form of each method, since one word then means one thing: `run` here as
there.  An enclave that runs needs no thread of the event loop's executor, however many run.

async with aio.Machine("64M") as machine, await machine.create("prime") as enclave:
    print(await enclave.run())
"""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from penglai import embedded
from penglai.abi.errors import WaitTimeoutError
from penglai.abi.state import State
from penglai.abi.timeout import checked_timeout
from penglai.attestation.report import Report
from penglai.driver.shared import RelayPages
from penglai.driver.task import Info, Result
from penglai.host import enclave as host
from penglai.host.console import Console
from penglai.host.image import Image, Kind
from penglai.host.mounts import Mounts
from penglai.host.stdin import Stdin

__all__ = ["Enclave", "Machine", "Run"]

T = TypeVar("T")

Run = host.Run
"""Can be awaited as it is."""


class Enclave:
    """An enclave; see penglai.Enclave, which `enclave` is.  An asynchronous context manager."""

    def __init__(self, enclave: host.Enclave) -> None:
        self.enclave = enclave

    @property
    def eid(self) -> int:
        """Its id."""
        return self.enclave.eid

    @property
    def name(self) -> str:
        """The name it was created under."""
        return self.enclave.name

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return self.enclave.kind

    @property
    def state(self) -> State:
        """Its state in the monitor, at this moment."""
        return self.enclave.state

    def info(self) -> Info:
        """What the monitor tells of it."""
        return self.enclave.info()

    async def start(
        self,
        *,
        relay: RelayPages | None = None,
        stdin: Stdin | None = None,
        mounts: Mounts | None = None,
    ) -> Run:
        """Run it; the run can be awaited.  Raises as penglai.Enclave.start does."""
        return await asyncio.to_thread(self.enclave.start, relay=relay, stdin=stdin, mounts=mounts)

    async def continue_with(self, relay: RelayPages | None = None) -> Run:
        """Let it go on after it has returned its relay pages; the run can be awaited."""
        return await asyncio.to_thread(self.enclave.continue_with, relay)

    async def run(
        self,
        timeout: float | None = None,
        *,
        relay: RelayPages | None = None,
        stdin: Stdin | None = None,
        mounts: Mounts | None = None,
    ) -> Result:
        """Run it to its end.  Cancelled or too late (WaitTimeoutError), the enclave goes on."""
        seconds = checked_timeout(timeout)
        return await _result(
            await self.start(relay=relay, stdin=stdin, mounts=mounts),
            seconds,
            f"{self.enclave!r} is still alive",
        )

    async def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end of a run that was started.  Raises as penglai.Enclave.wait does."""
        seconds = checked_timeout(timeout)
        return await _result(self.enclave.last_run, seconds, f"{self.enclave!r} is still alive")

    async def stop(self) -> None:
        """Stop it: when this is done it executes no further instruction."""
        await asyncio.to_thread(self.enclave.stop)

    async def resume(self) -> None:
        """Let it go on, exactly where it was stopped."""
        await asyncio.to_thread(self.enclave.resume)

    async def destroy(self) -> None:
        """End it in any state; its memory is scrubbed and free when this is done."""
        await asyncio.to_thread(self.enclave.destroy)

    async def snapshot(self, path: str | os.PathLike[str], *, clone: bool = False) -> None:
        """Seal it into a new file, where it goes on; see penglai.Enclave.snapshot."""
        await asyncio.to_thread(self.enclave.snapshot, path, clone=clone)

    async def attest(self, nonce: int = 0) -> Report:
        """A signed report of what it is made of, with this nonce (64 bits)."""
        return await asyncio.to_thread(self.enclave.attest, nonce)

    async def lines(self) -> AsyncIterator[str]:
        """The lines that it writes, each when it is there, until it has ended."""
        reader = self.enclave.output.reader()
        while (lines := reader.lines()) is not None:
            for line in lines:
                yield line
            await asyncio.wrap_future(reader.more())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.enclave.__exit__, kind, error, trace)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Enclave) and other.enclave == self.enclave

    def __hash__(self) -> int:
        return hash(self.enclave)

    def __repr__(self) -> str:
        return repr(self.enclave)


class Machine:
    """A machine, with the arguments of penglai.Machine, which `machine` is while it is on.

    An asynchronous context manager: leaving it destroys all enclaves and switches the machine off.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._arguments = arguments
        self._options = options
        self.machine: embedded.Machine

    async def __aenter__(self) -> Self:
        self.machine = await asyncio.to_thread(embedded.Machine, *self._arguments, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.machine.close)

    @property
    def console(self) -> Console:
        """What enclaves have written; to wait for text, see `wait_for`."""
        return self.machine.console

    async def create(self, image: Image, **options: Any) -> Enclave:
        """Create and measure an enclave; arguments and errors as for penglai.Machine.create."""
        return Enclave(await asyncio.to_thread(self.machine.create, image, **options))

    async def restore(self, path: str | os.PathLike[str], **options: Any) -> Enclave:
        """The enclave in a snapshot; arguments and errors as for penglai.Machine.restore."""
        return Enclave(await asyncio.to_thread(self.machine.restore, path, **options))

    async def wait_for(self, text: bytes | str, timeout: float | None = None) -> None:
        """Wait until text was written.  Raises WaitTimeoutError after timeout seconds."""
        seconds = checked_timeout(timeout)
        await _result(self.console.written(text), seconds, f"{text!r} was not written")

    def __repr__(self) -> str:
        return repr(self.machine) if hasattr(self, "machine") else "<Machine off>"


async def _result(future: "Future[T]", seconds: float | None, what: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        raise WaitTimeoutError(f"{what} after {seconds} seconds") from None
