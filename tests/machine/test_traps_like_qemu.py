"""Every trap is QEMU's: cause, epc, tval, and what was done before it, for the same code on the same pages.

What QEMU does was recorded (tests/support/traps/recorded.py); where QEMU is installed, the record is compared
with it.  Where the harts differ they do so for a reason with a name (tests/support/traps/differences.py).
"""

import functools

import pytest
from tests.support.traps import recorded
from tests.support.traps.cases import M, U, all_cases
from tests.support.traps.differences import DIFFERENCES
from tests.support.traps.outcome import outcome
from tests.support.traps.recorded import Outcomes
from tests.support.traps.run import VERSION, on_hart, on_supervisor, qemu_is_there

MACHINES = {"hart": on_hart, "supervisor": on_supervisor}
FORMS_AND_PLACES = 16_000


@functools.cache
def ours(machine: str) -> Outcomes:
    """What a hart here does in the cases that it can be in."""
    cases = tuple(
        case
        for case in all_cases()
        if (
            case.way.privilege != M
            if machine == "supervisor"
            else case.way.privilege in (U, M) and not case.way.status
        )
    )
    results = zip(cases, MACHINES[machine](cases), strict=True)
    return {case.name: outcome(case, result) for case, result in results}


@functools.cache
def explained(machine: str) -> tuple[dict[str, str], list[str]]:
    """(case: the name of the difference that it shows; what nothing explains)"""
    found, unknown = {}, []
    here, there = ours(machine), recorded.load()
    for case in all_cases():
        if case.name not in here or here[case.name] == there[case.name]:
            continue
        for difference in DIFFERENCES:
            if difference.instead(case, there[case.name], there, here) == here[case.name]:
                found[case.name] = difference.name
                break
        else:
            unknown.append(f"{case.name}\n  QEMU: {there[case.name]}\n  here: {here[case.name]}")
    return found, unknown


def test_the_record_has_every_case():
    assert set(recorded.load()) == {case.name for case in all_cases()}
    assert len(all_cases()) > FORMS_AND_PLACES


@pytest.mark.skipif(not qemu_is_there(), reason=f"there is no QEMU {VERSION} here: its record stands for it")
def test_the_record_is_what_qemu_does():
    there, kept = recorded.observe(), recorded.load()
    changed = [
        f"{name}: {what}, not {kept.get(name)}" for name, what in there.items() if what != kept.get(name)
    ]
    assert not changed, f"{len(changed)} cases; python -m tests.support.traps.recorded\n" + "\n".join(
        changed[:20]
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_every_trap_is_qemus_or_differs_for_a_known_reason(machine: str):
    _, unknown = explained(machine)
    assert not unknown, f"{len(unknown)} cases\n" + "\n".join(unknown[:20])


@pytest.mark.parametrize("difference", [difference.name for difference in DIFFERENCES])
def test_every_known_difference_is_still_there(difference: str):
    assert any(difference in explained(machine)[0].values() for machine in MACHINES)
