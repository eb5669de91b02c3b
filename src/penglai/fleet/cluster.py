"""Ray, as far as a fleet needs it: connecting, actors, their calls.  Beside it only `node` imports it.

Ray is asked to do nothing again by itself: an actor that has died stays dead (an empty machine is no
machine), and a call whose result is lost is not made once more.
"""

import logging
import os
import socket
from typing import Any, TypeVar

from penglai.abi.errors import FleetError, PenglaiError, StateError, WaitTimeoutError
from penglai.fleet.door import ENVIRONMENT, Door

os.environ.update(ENVIRONMENT)  # some of it Ray reads while it is imported
try:
    import ray
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
    from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError
except ImportError as error:
    raise FleetError(f"a fleet needs Ray; run: pip install 'pypenglai[fleet]' ({error})") from error

T = TypeVar("T")

NAMESPACE = "penglai"
CONNECT_SECONDS = 30.0
Handle = Any
"""Of an actor, whose methods are called by `ask`."""

MachineDied = ActorDiedError
"""What is raised for every call of an actor that is no more."""
Unreachable = RayError
"""What is raised for a call whose result does not come."""


def check_outside() -> None:
    """Raises StateError if this process is in a cluster."""
    if ray.is_initialized():
        raise StateError("this process is in a fleet already; a process can be in one at a time")


def connect(door: Door) -> None:
    """Make this process one of the cluster's.

    Raises StateError if it is in one already, FleetError if there is none.
    """
    check_outside()
    host, _, port = door.address.rpartition(":")
    os.environ.update(door.environment())
    AuthenticationTokenLoader.instance().reset_cache()  # Ray would show the token of an earlier fleet
    try:
        # Ray itself would try for minutes
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(
            address=door.address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.CRITICAL
        )
    except (OSError, RayError, RuntimeError, ValueError) as error:
        raise FleetError(f"no fleet answers at {door.address}: {_line(error)}") from error


def disconnect() -> None:
    """Leave it.  More than once does nothing."""
    ray.shutdown()


def start(kind: type, *arguments: object, resources: dict[str, float], calls: int, name: str = "") -> Handle:
    """An actor: an object of this class in a process of its own, on a node that has these resources.

    calls: how many of its methods run at once.  name: by which others find it; it then outlives its maker.
    """
    options: dict[str, Any] = {
        "num_cpus": 0,
        "resources": resources,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": calls,
    }
    if name:
        options |= {"name": name, "lifetime": "detached"}
    return ray.remote(**options)(kind).remote(*arguments)


def find(name: str) -> Handle:
    """The actor of a name.  Raises FleetError if there is none."""
    try:
        return ray.get_actor(name, NAMESPACE)
    except ValueError:
        raise FleetError("the fleet has no keeper; end it with: penglai fleet down") from None


def ask(handle: Handle, method: str, *arguments: object) -> Any:
    """Call a method of an actor: what `answer` and `later` make an answer of."""
    return getattr(handle, method).remote(*arguments)


def answer(question: Any, timeout: float | None = None) -> Any:
    """Wait for the answer, at most timeout seconds.

    Raises what the method raises, WaitTimeoutError, FleetError if the answer cannot come.
    """
    try:
        return ray.get(question, timeout=timeout)
    except GetTimeoutError:
        raise WaitTimeoutError(f"the fleet did not answer within {timeout} seconds") from None
    except RayError as error:
        raise _ours(error) from None


async def later(question: Any) -> Any:
    """The answer, inside an actor.  Raises what the method raises, MachineDied, Unreachable."""
    try:
        return await question
    except RayTaskError as error:
        raise _ours(error) from None


def kill(handle: Handle) -> None:
    """End an actor's process at once."""
    ray.kill(handle)


def live_nodes() -> set[str]:
    """Names of the nodes that live, as far as the cluster knows."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeName"] for node in nodes if node["Alive"]}


def failed(what: str, error: RayError) -> FleetError:
    """What a call that could not be made is for who called."""
    return FleetError(f"{what} does not answer: {_line(error)}")


def _ours(error: RayError) -> PenglaiError:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return cause if isinstance(cause, PenglaiError) else FleetError(f"the fleet failed: {_line(cause)}")


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
