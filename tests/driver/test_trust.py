"""What the driver holds: nothing of the monitor, of the raw memory or of a hart's registers."""

import gc
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import penglai
from penglai.machine import Board, Context, Hart, PhysicalMemory
from penglai.monitor import Monitor
from penglai.monitor.enclave import Enclave as Record

FORBIDDEN = (Monitor, Board, PhysicalMemory, Hart, Context, Record)
OPAQUE = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""Not followed: code, whose closures are the capabilities that the driver was given."""


def reachable(start: object) -> list[object]:
    """Everything that attributes, containers and bound methods lead to."""
    seen: dict[int, object] = {}
    todo = [start]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, OPAQUE):
            continue
        seen[id(item)] = item
        todo += [item.__self__] if isinstance(item, MethodType) else gc.get_referents(item)
    return list(seen.values())


def test_the_driver_reaches_only_what_a_kernel_could(machine: penglai.Machine):
    enclave = machine.create("hello-world")
    enclave.start()
    found = [item for item in reachable(machine._driver) if isinstance(item, FORBIDDEN)]
    assert found == []
    assert any(isinstance(item, Monitor) for item in reachable(machine)), "the walk does find it elsewhere"


def test_so_do_the_handles_of_a_host_program(machine: penglai.Machine):
    program = machine.program()
    enclave = program.create("loop")
    run = enclave.start()
    for handle in (program, enclave, run):
        assert [item for item in reachable(handle) if isinstance(item, FORBIDDEN)] == []
