"""The states of an enclave, as the monitor reports them."""

from enum import IntEnum


class State(IntEnum):
    """Where an enclave is in its life."""

    FRESH = 0
    """Created and measured; not one instruction has run."""
    RUNNING = 1
    """On a hart."""
    RUNNABLE = 2
    """Preempted: the host will enter it again."""
    OCALL = 3
    """Waits for the host to serve a request."""
    STOPPED = 4
    """Stopped by the host; only resume and destroy go on from here."""
    EXITED = 5
    """Ended by itself.  Its eid no longer exists."""
    DESTROYED = 6
    """Ended by the host or by a fault.  Its eid no longer exists."""

    IDLE = 7
    """A server that nobody calls."""
    BUSY = 8
    """A server that is being called."""
    TEMPLATE = 9
    """A shadow enclave: instances are made from it."""
    RESTORING = 10
    """Being made from a snapshot, of which not every piece has come."""

    def __str__(self) -> str:
        return self.name
