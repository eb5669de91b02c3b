"""What the monitor's refusals mean for whoever made the call, and what to do."""

from penglai.abi.errors import ErrorCode, PenglaiError, SnapshotError, error_class
from penglai.abi.sbi import EnclaveType, SbiResult
from penglai.abi.snapshot import Why
from penglai.abi.state import State
from penglai.driver.ocalls import code_name
from penglai.driver.task import Task

REMEDIES = {
    "run": "an enclave runs once; create another one",
    "continue": "it waits for no relay pages",
    "stop": "start it first",
    "resume": "only a stopped enclave can be resumed",
    "attest": "attest it before it starts, or stop it first",
    "destroy": "try again when the call is over",
    "snapshot": "stop it first",
    "restore": "it was destroyed meanwhile",
}
KIND_REMEDIES = {
    EnclaveType.SERVER: "a server runs only when an enclave calls it",
    EnclaveType.SHADOW: "a shadow only makes instances; use theirs",
}
"""Why calls that are about running are refused for enclaves that do not run."""

WHY = {
    Why.KIND: "only an enclave that runs by itself has snapshots; make the server or shadow again there",
    Why.CALLING: "it is in a call of a server; resume it, and stop it again later",
    Why.RELAY: "it has relay pages or pages that were passed to it; let it return them first",
    Why.SHARED: "it has secure shared memory; let it detach and destroy that first",
    Why.POLICY: "its policy does not allow that; the enclave sets it with eapp_set_policy",
    Why.PROFILE: "a machine that behaves as Penglai-TVM's own has no snapshots; use the profile native",
    Why.SPLIT: "its memory is in too many pieces; let it unmap some",
    Why.FULL: "too many snapshots of this device wait to be restored; restore some",
    Why.ABANDONED: "it has gone on meanwhile; stop it, and begin again",
    Why.UNFINISHED: "not all of it has been written; begin again",
    Why.STORAGE: "the device's storage cannot be used; the monitor's log says why",
    Why.FORMAT: "it is no snapshot, or one of another version",
    Why.DEVICE: "another device has made it; restore it there, with the state directory of that device",
    Why.MONITOR: (
        "another monitor has made it: another version of this package, or a machine with debug on where this "
        "one has it off, or the other way round"
    ),
    Why.DAMAGED: "it is damaged: changed, cut off, or put together from several",
    Why.SPENT: "it was restored already, or its making was not finished; an enclave lives once",
    Why.OLD: "it is an old one: the enclave went on from it, and is in a later snapshot",
    Why.SERVER: "a server that it uses is not here; create it first, from the same image and under its name",
    Why.SHADOW: "the shadow that it is an instance of is not here; create it first, from the same image",
    Why.SHM: "it needs shared memory of the size that it had; give it with shm",
}
"""What to do where a snapshot is refused."""


def explained(verb: str, task: Task, result: SbiResult, state: State | None) -> PenglaiError:
    """The error of a call that was refused.  state: the enclave's, if there is one."""
    kind = error_class(result.error)
    if result.value and verb in ("snapshot", "restore") and result.error != ErrorCode.NO_MEMORY:
        kind, why = SnapshotError, WHY[Why(result.value)]
    elif result.error == ErrorCode.NO_SUCH_ENCLAVE:
        why = f"it is {state}, and its id no longer exists"
    elif result.error == ErrorCode.GENERIC:
        remedy = REMEDIES[verb]
        if verb not in ("destroy", "attest"):
            remedy = KIND_REMEDIES.get(task.kind, remedy)
        why = f"it is {state}; {remedy}"
    elif result.error == ErrorCode.ATTESTATION_FAILED:
        why = "the monitor cannot get at the device's keys; its log says why"
    else:
        why = f"the monitor refuses ({code_name(result.error)})"
    return kind(f"cannot {verb} {task.label}: {why}")
