"""Mutants of Python source: cosmic-ray's operators, and some of our own.

Its operators for each pair of relations or arithmetic signs make forty of one line; two of each are enough:
the boundary and the opposite.  What it has not is what matters most here: a statement that is not executed,
a lock that is not taken.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

NAMES = [
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Mod_Mul", "RShift_LShift", "LShift_RShift")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr")),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("Not", "USub", "Invert")),
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "NumberReplacer",
    "ZeroIterationForLoop",
]


class RemoveStatement(Operator):  # type: ignore[misc]
    """A call, a raise, a change of something else's attribute or item: not done."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _matters(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        nothing = parso.parse("pass\n").children[0]
        nothing.get_first_leaf().prefix = node.get_first_leaf().prefix
        return nothing

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class RemoveLock(Operator):  # type: ignore[misc]
    """What is done under a lock is done without it."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "with_stmt" and node.children[1].get_code().strip().endswith("lock"):
            yield node.start_pos, node.children[1].end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        node.children[0].value = "if"
        node.children[1] = parso.python.tree.Name("True", node.children[1].start_pos, " ")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def _matters(statement: Any) -> bool:
    code = statement.get_code().strip()
    if code.startswith(("log.", "super().__init__")):
        return False
    if statement.type in ("raise_stmt", "del_stmt"):
        return True
    if statement.type == "expr_stmt":
        target = statement.children[0]
        kind = getattr(statement.children[1], "value", "")  # none of an annotation
        return kind.endswith("=") and (kind != "=" or target.type in ("power", "atom_expr"))
    return statement.type in ("power", "atom_expr")


OPERATORS: dict[str, Any] = {name: get_operator(f"core/{name}") for name in NAMES}
OPERATORS |= {"RemoveStatement": RemoveStatement, "RemoveLock": RemoveLock}


@dataclass(frozen=True)
class Mutant:
    """A change at (line, column) of a file.  lines: of the statement, or of its head, that it changes."""

    file: Path
    operator: str
    occurrence: int
    line: int
    lines: range
    function: str

    @property
    def place(self) -> str:
        """Where in the file it changes what."""
        return f"{self.operator} {self.occurrence}"

    @cached_property
    def source(self) -> str:
        """The whole file, changed."""
        mutated = mutate_code(self.file.read_text(), OPERATORS[self.operator](), self.occurrence)
        assert mutated is not None, self
        return str(mutated)

    @cached_property
    def change(self) -> tuple[str, str]:
        """The lines that differ, before and after, without indentation."""
        return changed(self.file.read_text(), self.source)


def changed(before: str, after: str) -> tuple[str, str]:
    """The lines in which two texts differ, each line stripped."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return " ".join(map(str.strip, old)), " ".join(map(str.strip, new))


def mutants(file: Path) -> list[Mutant]:
    """Every mutant of a file, but for those in annotations, in messages and in what only a checker reads."""
    text = file.read_text()
    places = _Places(text)
    found = []
    tree = get_ast(text)
    for name, make in OPERATORS.items():
        operator = make()
        positions = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence, (line, column) in enumerate(positions):
            if places.counts(line, column):
                found.append(
                    Mutant(file, name, occurrence, line, places.statement(line), places.function(line))
                )
    return sorted(found, key=lambda each: (each.line, each.operator, each.occurrence))


class _Places:
    """Where in a file a mutant means something."""

    def __init__(self, text: str) -> None:
        tree = ast.parse(text)
        self._left_out: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self._statements: list[range] = []
        self._functions: list[tuple[range, str]] = []
        for node in ast.walk(tree):
            self._leave_out(node)
            if isinstance(node, ast.stmt):
                self._statements.append(_head(node))
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno is not None
                self._functions.append((range(node.lineno, node.end_lineno + 1), node.name))
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING:
                self._left_out.append((token.start, token.end))

    def _leave_out(self, node: ast.AST) -> None:
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            parts += [node.returns, *(a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg))]
        if isinstance(node, ast.AnnAssign):
            parts.append(node.annotation)
        if isinstance(node, ast.ClassDef):
            parts += node.decorator_list  # @dataclass(frozen=True) is a promise to the type checker
        if isinstance(node, ast.Assert | ast.ImportFrom | ast.Import | ast.JoinedStr) or _is_said(node):
            parts.append(node)
        for part in parts:
            if part is not None:
                start = part.lineno, part.col_offset  # type: ignore[attr-defined]
                self._left_out.append((start, (part.end_lineno, part.end_col_offset)))  # type: ignore[attr-defined]

    def counts(self, line: int, column: int) -> bool:
        return not any(start <= (line, column) < end for start, end in self._left_out)

    def statement(self, line: int) -> range:
        """Lines of the smallest statement, or head of one, at a line."""
        around = [each for each in self._statements if line in each]
        return min(around, key=len, default=range(line, line + 1))

    def function(self, line: int) -> str:
        around = [(len(lines), name) for lines, name in self._functions if line in lines]
        return ".".join(name for _, name in sorted(around, reverse=True))


def _is_said(node: ast.AST) -> bool:
    """Is it for people, or for a type checker?"""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).startswith("log.")
    return isinstance(node, ast.FunctionDef) and node.name == "__repr__"


def _head(node: ast.stmt) -> range:
    """Lines of a statement without the statements in it."""
    inner = [
        each.lineno - 1 for each in ast.walk(node) if isinstance(each, ast.stmt) and each.lineno > node.lineno
    ]
    assert node.end_lineno is not None
    return range(node.lineno, max(node.lineno, min([node.end_lineno, *inner])) + 1)
