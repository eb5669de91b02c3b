"""Mutants of the engine's C, by its tokens: no parser, so some do not compile, and count as noticed.

Relations and arithmetic signs, numbers by one, conditions the other way round, statements left out.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.mutation.python import changed
from tests.mutation.runner import PACKAGE

ROOM = "engine"
TESTED = "contexts hidden_pages shortcuts stops supervisor translation traps traps_like_qemu zcb"
TESTS = tuple(f"tests/machine/test_{name}.py" for name in TESTED.split())

TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:[^\n\\]|\\.)*)"""
    r"""|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<number>0[xX][0-9a-fA-F]+[uUlL]*|[0-9]+[uUlL]*)"""
    r"""|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)

OTHER = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "&&": ("||",),
    "||": ("&&",),
    "<<": (">>",),
    ">>": ("<<",),
    "+": ("-",),
    "|": ("&",),
    "^": ("|",),
    "++": ("--",),
    "+=": ("-=",),
    "|=": ("&=",),
    "&=": ("|=",),
}
"""What a sign becomes.  Not `-`, `*` and `&`, which have two meanings each."""
WORDS = "return goto case default typedef struct enum static else extern if while for do switch"
KEEP = set(WORDS.split())
"""A statement that begins so is not left out: it declares something, or others hang on it."""
FUNCTION = re.compile(
    r"^(?!\s|#|typedef|enum)[\w \t*()]*?\b((?!__attribute__)\w+)\([^;{}()]*\)(?:\s|/\*.*?\*/)*\{",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Mutant:
    """text[start:end] becomes `new`."""

    file: Path
    operator: str
    start: int
    end: int
    new: str
    line: int
    function: str

    @property
    def place(self) -> str:
        """Where in the file it changes what."""
        return f"{self.start}-{self.end} {self.new}"

    @cached_property
    def source(self) -> str:
        """The whole file, changed."""
        text = self.file.read_text()
        return text[: self.start] + self.new + text[self.end :]

    @cached_property
    def change(self) -> tuple[str, str]:
        """The lines that differ, before and after, without indentation."""
        return changed(self.file.read_text(), self.source)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def files(part: str = "") -> list[Path]:
    """The engine's sources whose names contain a part."""
    return [path for path in sorted((PACKAGE / "machine").glob("*.c")) if part in path.name]


def mutants(file: Path) -> list[Mutant]:
    """Every mutant of a file that is in a function."""
    text = file.read_text()
    tokens = [
        _Token(match.lastgroup or "", match.group(), match.start(), match.end())
        for match in TOKEN.finditer(text)
    ]
    functions = [(match.start(), match.group(1)) for match in FUNCTION.finditer(text)]
    starts = [start for start, _ in functions]
    found = []
    for operator, start, end, new in _changes([each for each in tokens if each.kind != "blank"], text):
        index = bisect_right(starts, start) - 1
        if index >= 0:
            line = text.count("\n", 0, start) + 1
            found.append(Mutant(file, operator, start, end, new, line, functions[index][1]))
    return found


def _changes(tokens: list[_Token], text: str) -> list[tuple[str, int, int, str]]:
    found = []
    bodies: set[int] = set()
    for index, token in enumerate(tokens):
        if token.kind == "sign":
            found += [("sign", token.start, token.end, new) for new in OTHER.get(token.text, ())]
        elif token.kind == "number":
            digits = token.text.rstrip("uUlL")
            value, suffix = int(digits, 0), token.text[len(digits) :]
            new = [value + 1, value - 1] if value else [1]
            found += [("number", token.start, token.end, f"{each}{suffix}") for each in new]
        if token.text in ("if", "while", "for") and tokens[index + 1].text == "(":
            close = _closing(tokens, index + 1)
            bodies.add(close + 1)
        if token.text in ("if", "while"):
            inside = text[tokens[index + 1].end : tokens[close].start]
            found.append(("not", tokens[index + 1].end, tokens[close].start, f"!({inside})"))
        if token.kind == "name" and (tokens[index - 1].text in (";", "{", "}") or index in bodies):
            end = _statement(tokens, index)
            if end is not None:
                found.append(("statement", token.start, tokens[end].end, ";"))
    return found


def _closing(tokens: list[_Token], index: int) -> int:
    depth = 0
    for at in range(index, len(tokens)):
        depth += (tokens[at].text == "(") - (tokens[at].text == ")")
        if not depth:
            return at
    raise ValueError("a parenthesis is not closed")


def _statement(tokens: list[_Token], index: int) -> int | None:
    """Where a call or an assignment ends that begins here; None for everything else."""
    if tokens[index].text in KEEP or tokens[index + 1].kind == "name" or tokens[index + 1].text == "*":
        return None
    effect = False
    for at in range(index + 1, len(tokens)):
        text = tokens[at].text
        effect |= text in ("(", "++", "--") or (text.endswith("=") and text not in ("==", "!=", "<=", ">="))
        if text == ";":
            return at if effect else None
        if text in "{}":
            return None
    return None
