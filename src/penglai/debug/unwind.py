"""From registers and a stack to the calls that led there."""

from typing import NamedTuple

from penglai.debug.stack import FP, RA, SP, Stack
from penglai.debug.symbols import Program, Rule

MOST_CALLS = 256
WORD = (1 << 64) - 1


class Call(NamedTuple):
    """A step of a backtrace.

    pc: the instruction that runs, or to which the call returns.  exact: False if it was found by a guess: by
    the frame pointer, or because the return address was in its register.
    """

    pc: int
    exact: bool


def walk(program: Program, pc: int, registers: tuple[int, ...], stack: Stack) -> list[Call]:
    """The calls that led to a pc, the innermost first, as far as they can be known.

    registers: x0 to x31.
    """
    calls, values = [Call(pc, exact=True)], dict(enumerate(registers))
    while len(calls) < MOST_CALLS:
        here = calls[-1].pc
        inner = len(calls) == 1
        # a return address may be the first one behind a function that never returns
        rule = program.rule(here if inner else here - 1)
        before = values[SP]
        exact = rule is not None
        caller = _by_rule(rule, values, stack) if rule else _by_guess(program, values, stack, inner=inner)
        if caller is None or not program.is_code(caller - 1):
            break
        if not inner and values[SP] <= before:
            break  # it leads nowhere: each caller's frame is above
        values.pop(RA, None)  # the call has overwritten it: from here on it is what was saved
        calls.append(Call(caller, exact))
    return calls


def _by_rule(rule: Rule, values: dict[int, int], stack: Stack) -> int | None:
    """The return address by what the compiler has written down; values become the caller's."""
    register, offset = rule.cfa
    if register not in values:
        return None
    frame = values[register] + offset & WORD
    for number, at in rule.saved.items():
        found = None if at is None else stack.word(frame + at & WORD)
        if found is None:
            values.pop(number, None)
        else:
            values[number] = found
    values[SP] = frame
    return values.get(RA)


def _by_guess(program: Program, values: dict[int, int], stack: Stack, *, inner: bool) -> int | None:
    """The same of code without: where nothing was called yet, the register has it; else the frame pointer."""
    if inner and program.is_code(values[RA] - 1):
        return values[RA]
    frame = values.get(FP, 0)
    caller, previous = stack.word(frame - 8), stack.word(frame - 16)
    if frame <= values[SP] or caller is None or previous is None:
        return None
    values.update({RA: caller, FP: previous, SP: frame})
    return caller
