"""Every public method says what it does, or is one that a protocol or a base class of ours describes."""

import ast
import functools
import re
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src/penglai"
POINTS_ELSEWHERE = re.compile(r"See \w+\.")

Method = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def classes() -> list[tuple[Path, ast.ClassDef]]:
    return [
        (path.relative_to(SOURCES), node)
        for path in sorted(SOURCES.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]


def methods(node: ast.ClassDef) -> list[Method]:
    """The public ones; setters are described by what they set."""
    return [
        each
        for each in node.body
        if isinstance(each, Method)
        and not each.name.startswith("_")
        and not any(isinstance(by, ast.Attribute) and by.attr == "setter" for by in each.decorator_list)
    ]


def names(bases: list[ast.expr]) -> set[str]:
    return {base.id for base in bases if isinstance(base, ast.Name)}


def described() -> set[str]:
    """Names of methods that say what they do, of protocols and of classes that others derive from."""
    derived = set().union(*(names(node.bases) for _, node in classes()))
    return {
        method.name
        for _, node in classes()
        if node.name in derived or "Protocol" in names(node.bases)
        for method in methods(node)
        if ast.get_docstring(method)
    }


def test_every_public_method_is_described():
    known = described()
    assert [
        f"{path}:{method.lineno} {node.name}.{method.name}"
        for path, node in classes()
        if not node.name.startswith("_")
        for method in methods(node)
        if not ast.get_docstring(method) and method.name not in known
    ] == []


def test_no_docstring_only_points_elsewhere():
    assert [
        f"{path}:{method.lineno} {node.name}.{method.name}"
        for path, node in classes()
        for method in methods(node)
        if POINTS_ELSEWHERE.fullmatch(ast.get_docstring(method) or "")
    ] == []
