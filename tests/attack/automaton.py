"""An exhaustive walk of the life cycle: every call in every state that can be reached, until none is new."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.attack.model import EVENTS, Being, World
from tests.attack.reference import OCALL, YIELD, Life
from tests.attack.tally import Effort, Tally
from tests.attack.town import marked
from tests.support.rawhost import EXIT, calling

TITLE = "the life-cycle automaton, walked until no state is new"

FIRST, SECOND = 1, 2
"""Picks the first, the second enclave of a world that has few."""

Action = Callable[[World], None]


@dataclass(frozen=True)
class Walk:
    """prepare: what is there in the beginning.  actions: what may happen, by name."""

    prepare: Action
    actions: dict[str, Action]


def on(which: int) -> dict[str, Action]:
    """All calls on one enclave."""
    return {
        f"run {which}": lambda world: world.run(which),
        f"run {which} on a hart": lambda world: world.run_on_hart(which, 0),
        f"enter {which}": lambda world: world.enter(which, 1),
        f"answer {which}": lambda world: world.answer(which, 0),
        f"stop {which}": lambda world: world.stop(which),
        f"resume {which}": lambda world: world.resume(which),
        f"attest {which}": lambda world: world.attest(which),
        f"destroy {which}": lambda world: world.destroy(which),
    }


def make(world: World, script: list[int], server: str | None = None) -> None:
    """A fresh enclave, which calls a server first."""
    body = "".join(EVENTS[event] for event in script)
    if server is not None:
        body = calling(server) + "bltz a0, 9f\n" + body + "9:\n"
    eid, pages = world.made(lambda: world.raw.make(marked(body + EXIT)))
    world.beings[eid] = Being(Life(script=list(script)), pages, server)
    world.free -= pages


def plain(world: World) -> None:
    make(world, [YIELD, OCALL, OCALL])


def caller(world: World) -> None:
    world.create_server()
    make(world, [YIELD], "s0")


def two_callers(world: World) -> None:
    world.create_server()
    make(world, [], "s0")
    make(world, [], "s0")


def shadow(world: World) -> None:
    world.create_shadow()


DESTROY_SERVER = {"destroy the server": lambda world: world.destroy_server(0)}
SHADOW = {
    "run an instance": lambda world: world.run_instance(0) if len(world.beings) < 2 else None,
    "destroy the shadow": lambda world: world.destroy_shadow(0),
}

WALKS = {
    "an enclave": Walk(plain, on(FIRST)),
    "a caller and its server": Walk(caller, on(FIRST) | DESTROY_SERVER),
    "two callers of one server": Walk(two_callers, on(FIRST) | on(SECOND) | DESTROY_SERVER),
    "a shadow and two instances": Walk(shadow, on(FIRST) | on(SECOND) | SHADOW),
}


def state(world: World) -> tuple[object, ...]:
    """What tells states apart; how often it was stopped does not."""
    beings = [
        (being.life.state, being.life.waiting, len(being.life.script), being.server)
        for _, being in sorted(world.beings.items())
    ]
    tools = [
        (tool.gone, tool.users, tool.busy and sorted(world.beings).index(tool.busy))
        for tools in (world.servers, world.shadows)
        for _, tool in sorted(tools.items())
    ]
    return (*beings, *tools)


def replay(walk: Walk, path: tuple[str, ...]) -> tuple[object, ...]:
    """Take a path from the beginning; system and model say the same at its end."""
    world = World()
    world.begin()
    walk.prepare(world)
    for name in path:
        walk.actions[name](world)
    world.system_and_model_say_the_same()
    found = state(world)
    world.teardown()
    return found


def attack(effort: Effort) -> Tally:
    """Breadth first, so that each state is met by its shortest path.  The short form ends early."""
    tally = Tally()
    for name, walk in WALKS.items():
        seen = {replay(walk, ()): ()}
        waiting: deque[tuple[str, ...]] = deque([()])
        most = effort.count(60, 10**9)
        transitions = 0
        while waiting and transitions < most:
            path = waiting.popleft()
            for action in walk.actions:
                transitions += 1
                with tally.case((name, (*path, action))):
                    found = replay(walk, (*path, action))
                    if found not in seen:
                        seen[found] = (*path, action)
                        waiting.append((*path, action))
        whole = "all" if not waiting else "not all"
        tally.notes.append(f"{name}: {len(seen)} states, {transitions} transitions, {whole}")
    return tally
