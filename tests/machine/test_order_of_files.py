"""The C files of a hart have an order: each calls only what stands below it, in `library.SOURCES`."""

import re
from pathlib import Path

import pytest

import penglai.machine
from penglai.machine.library import NATIVE_SOURCES, SOURCES

MACHINE = Path(penglai.machine.__file__).parent
NOT_CODE = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
DEFINITION = re.compile(
    r"^(?P<static>static )?[A-Za-z_][^\n;={}()]*?\b(?P<name>\w+)\([^;{}]*?\)\n\{", re.MULTILINE
)
CALL = re.compile(r"\b([A-Za-z_]\w*)\(")

NATIVE = " ".join(NATIVE_SOURCES)
"""The native engine is one layer among the others, and has layers of its own."""


class Layer:
    """What a layer's files define for others, and what they call that is not their own."""

    def __init__(self, files: str) -> None:
        text = "".join(NOT_CODE.sub(" ", (MACHINE / file).read_text()) for file in files.split())
        found = [(match["name"], bool(match["static"])) for match in DEFINITION.finditer(text)]
        self.files = files
        self.defined = {name for name, static in found if not static}
        self.called = set(CALL.findall(text)) - {name for name, _ in found}


def upward(order: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(layer, layer above it, function) of each call of a function of a layer above."""
    layers = [Layer(files) for files in order]
    return [
        (layer.files, above.files, function)
        for place, layer in enumerate(layers)
        for above in layers[:place]
        for function in sorted(above.defined & layer.called)
    ]


def test_every_file_has_its_place():
    files = {str(path.relative_to(MACHINE)) for path in MACHINE.rglob("*.c")}
    assert {*SOURCES, *NATIVE_SOURCES} == files - {"native/none.c"}


@pytest.mark.parametrize("order", [(SOURCES[0], NATIVE, *SOURCES[1:]), NATIVE_SOURCES], ids=["all", "native"])
def test_no_file_calls_one_above_it(order: tuple[str, ...]):
    assert upward(order) == []


def test_a_call_up_is_found():
    assert ("run.c", "fuel.c", "arm") in upward(SOURCES[::-1])
    assert ("native/code.c", "native/translate.c", "translate_from") in upward(NATIVE_SOURCES[::-1])
