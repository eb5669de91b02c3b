"""The life cycle as a table: state x call -> next state, or refusal.

FRESH to DESTROYED are the states of a runnable enclave (a normal one, or an instance of a shadow), IDLE and
BUSY those of a server, TEMPLATE that of a shadow, RESTORING that of one which is not whole yet.

The monitor executes this table, the documentation prints it, the tests enumerate it.  A state that has
no entry for a call refuses it, and nothing changes.
"""

from enum import StrEnum

from penglai.abi.errors import ErrorCode
from penglai.abi.state import State
from penglai.monitor.refusal import Refusal


class Call(StrEnum):
    """What the host can ask of an enclave.

    RUN, STOP, RESUME and DESTROY are what host programs call.  ENTER and ANSWER are the driver's part of
    a run: it enters a preempted enclave again, and hands in the result of an ocall.  INSTANTIATE is what
    running a shadow means.  SNAPSHOT makes pieces of a snapshot, and MOVE is its end: the enclave is there.
    FILL takes pieces of one that is being restored; after the last it is in the state in which it was.
    """

    ATTEST = "attest"
    INSTANTIATE = "run instance of"
    RUN = "run"
    STOP = "stop"
    RESUME = "resume"
    DESTROY = "destroy"
    ENTER = "enter"
    ANSWER = "answer"
    SNAPSHOT = "snapshot"
    MOVE = "move away"
    FILL = "fill"


RUNNABLE = (State.FRESH, State.RUNNING, State.RUNNABLE, State.OCALL, State.STOPPED)
"""States of a runnable enclave whose eid exists."""

LIVE = (*RUNNABLE, State.IDLE, State.BUSY, State.TEMPLATE, State.RESTORING)
"""States of an enclave whose eid exists."""

TABLE: dict[Call, dict[State, State]] = {
    Call.ATTEST: {
        state: state for state in (State.FRESH, State.STOPPED, State.IDLE, State.BUSY, State.TEMPLATE)
    },
    Call.INSTANTIATE: {State.TEMPLATE: State.TEMPLATE},
    Call.RUN: {State.FRESH: State.RUNNABLE},
    Call.STOP: {
        State.RUNNING: State.STOPPED,
        State.RUNNABLE: State.STOPPED,
        State.OCALL: State.STOPPED,
        State.STOPPED: State.STOPPED,
    },
    # Back to OCALL if the ocall that the stop interrupted still has no answer.
    Call.RESUME: {State.STOPPED: State.RUNNABLE},
    Call.DESTROY: dict.fromkeys((*RUNNABLE, State.IDLE, State.TEMPLATE, State.RESTORING), State.DESTROYED),
    Call.ENTER: {State.RUNNABLE: State.RUNNING},
    # The answer to an ocall is kept while the enclave is stopped.
    Call.ANSWER: {State.OCALL: State.RUNNABLE, State.STOPPED: State.STOPPED},
    Call.SNAPSHOT: {State.FRESH: State.FRESH, State.STOPPED: State.STOPPED},
    Call.MOVE: {State.FRESH: State.DESTROYED, State.STOPPED: State.DESTROYED},
    # Until the last piece; then FRESH or STOPPED, as the snapshot says.
    Call.FILL: {State.RESTORING: State.RESTORING},
}


def next_state(call: Call, state: State) -> State:
    """The state after a call.  Raises Refusal: no such enclave if it ended, else generic."""
    following = TABLE[call].get(state)
    if following is not None:
        return following
    if state not in LIVE:
        raise Refusal(ErrorCode.NO_SUCH_ENCLAVE, f"{call.value}: the enclave has ended")
    raise Refusal(ErrorCode.GENERIC, f"{call.value}: not in state {state}")
