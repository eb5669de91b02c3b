"""The life cycle of a normal enclave as a table: state x call -> next state, or refusal.

The monitor executes this table, the documentation prints it, the tests enumerate it.  A state that has
no entry for a call refuses it, and nothing changes.
"""

from enum import Enum

from penglai.abi.errors import ErrorCode
from penglai.abi.state import State
from penglai.monitor.refusal import Refusal


class Call(Enum):
    """What the host can ask of an enclave.

    RUN, STOP, RESUME and DESTROY are what host programs call.  ENTER and ANSWER are the driver's part of
    a run: it enters a preempted enclave again, and hands in the result of an ocall.
    """

    RUN = "run"
    STOP = "stop"
    RESUME = "resume"
    DESTROY = "destroy"
    ENTER = "enter"
    ANSWER = "answer"


LIVE = (State.FRESH, State.RUNNING, State.RUNNABLE, State.OCALL, State.STOPPED)
"""States of an enclave whose eid exists."""

TABLE: dict[Call, dict[State, State]] = {
    Call.RUN: {State.FRESH: State.RUNNABLE},
    Call.STOP: {
        State.RUNNING: State.STOPPED,
        State.RUNNABLE: State.STOPPED,
        State.OCALL: State.STOPPED,
        State.STOPPED: State.STOPPED,
    },
    # Back to OCALL if the ocall that the stop interrupted still has no answer.
    Call.RESUME: {State.STOPPED: State.RUNNABLE},
    Call.DESTROY: dict.fromkeys(LIVE, State.DESTROYED),
    Call.ENTER: {State.RUNNABLE: State.RUNNING},
    # The answer to an ocall is kept while the enclave is stopped.
    Call.ANSWER: {State.OCALL: State.RUNNABLE, State.STOPPED: State.STOPPED},
}


def next_state(call: Call, state: State) -> State:
    """The state after a call.  Raises Refusal: no such enclave if it ended, else generic."""
    if state not in LIVE:
        raise Refusal(ErrorCode.NO_SUCH_ENCLAVE, f"{call.value}: the enclave has ended")
    following = TABLE[call].get(state)
    if following is None:
        raise Refusal(ErrorCode.GENERIC, f"{call.value}: not in state {state}")
    return following
