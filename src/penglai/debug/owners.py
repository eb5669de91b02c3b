"""Whose registers a hart runs: it knows only these."""

from penglai.machine.context import Context
from penglai.monitor.enclave import Enclave
from penglai.monitor.monitor import Monitor


class Owners:
    """Finds the monitor's record by the context; quick for those that it has seen.

    monitor: from when there is one.
    """

    def __init__(self) -> None:
        self.monitor: Monitor | None = None
        self._known: dict[int, tuple[Context, Enclave]] = {}

    def find(self, context: Context) -> Enclave | None:
        """Who runs with this context."""
        known = self._known.get(context.satp)  # page tables, and so these, are used again
        if known is not None and known[0] is context:
            return known[1]
        found = next((each for each in self._alive() if each.context is context), None)
        if found is not None:
            self._known[context.satp] = (context, found)
        return found

    def chain(self, context: Context) -> list[Enclave]:
        """The same, and for whom it works: its caller, and so on to the enclave whose turn it is."""
        found = self.find(context)
        if found is None:
            return []
        run = next((each for each in self._alive() if each.frames and each.active is found), None)
        if run is None:
            return [found]
        return [*(frame.server for frame in reversed(list(run.frames))), run]

    def _alive(self) -> list[Enclave]:
        return self.monitor.enclaves() if self.monitor is not None else []
