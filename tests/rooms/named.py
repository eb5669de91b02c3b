"""Imports by name, which no graph of import statements shows.

What is imported late is imported by a statement inside a function, which every tool sees.  Only the modules
in BY_NAME import what they have the name of, by importlib.import_module with an f-string whose beginning says
in which package it stays.  Whatever else could import something is refused, so that nothing is overlooked;
what has a reason is in PERMITTED.
"""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

BY_NAME = {
    "penglai": "its public names, each from the module that has it, when it is used",
    "penglai.cli.app": "the module of a command, when the command is used",
}
"""Modules that import by name: what."""

PERMITTED = {
    (
        "penglai.toolchain.places",
        "importlib.util.find_spec",
    ): "finds where a package lies without importing it",
    (
        "penglai.toolchain.places",
        "from importlib import metadata",
    ): "knows versions, and imports nothing",
}
"""(module, what it uses): why it may."""

MODULES = frozenset(("builtins", "code", "codeop", "imp", "importlib", "pkgutil", "runpy", "zipimport"))
"""Modules that import others.  import importlib alone does nothing; what is used of it is looked at."""
BUILTINS = frozenset(("compile", "eval", "exec"))
WORDS = frozenset(
    (
        *("__builtins__", "__import__", "__loader__", "__spec__"),
        *("exec_module", "find_spec", "import_module", "load_module"),
    )
)
"""Refused as a name, as an attribute of anything, and as a string that getattr could be given."""
HOLDERS = frozenset(("sys.modules",))
"""What holds modules that others have imported."""


@dataclass(frozen=True)
class Named:
    """What a line imports: a module, or a package in which it is; None: cannot be read off."""

    line: int
    text: str
    module: str | None = None


@functools.cache
def imports_by_name(source: str, module: str) -> tuple[Named, ...]:
    """What the source of a module imports by name, and what it uses that might import anything."""
    found = _walk(ast.parse(source), module in BY_NAME)
    return tuple(each for each in found if (module, each.text) not in PERMITTED)


def _walk(node: ast.AST, by_name: bool) -> Iterator[Named]:
    if by_name and (name := _understood(node)) is not None:
        yield Named(name.lineno, ast.unparse(node), _beginning(name))
        yield from _walk(name, by_name)
    elif (text := _refused(node)) is not None:
        yield Named(getattr(node, "lineno", 0), text)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, by_name)


def _understood(node: ast.AST) -> ast.expr | None:
    """The argument, if this is importlib.import_module(argument)."""
    if isinstance(node, ast.Call) and _dotted(node.func) == "importlib.import_module":
        return node.args[0] if len(node.args) == 1 and not node.keywords else None
    return None


def _beginning(name: ast.expr) -> str | None:
    """The package that the beginning of an f-string names."""
    match name:
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if "." in text.lstrip("."):
            return text.rpartition(".")[0]
    return None


def _refused(node: ast.AST) -> str | None:
    """What it uses that might import anything."""
    match node:
        case ast.Import(names=names) if any(map(_brings_importer, names)):
            return ast.unparse(node)
        case ast.ImportFrom(module=str(module), names=names) if _root(module) in MODULES or any(
            each.name in WORDS or f"{module}.{each.name}" in HOLDERS for each in names
        ):
            return ast.unparse(node)
        case ast.Attribute(attr=attr) if attr in WORDS or _holds_modules(_dotted(node)):
            return _dotted(node) or attr
        case ast.Name(id=word) if word in WORDS | BUILTINS or word == "importlib":
            return word
        case ast.Constant(value=str(word)) if word in WORDS:
            return repr(word)
    return None


def _holds_modules(dotted: str) -> bool:
    return dotted in HOLDERS or _root(dotted) == "importlib"


def _brings_importer(alias: ast.alias) -> bool:
    root = _root(alias.name)
    return root in MODULES and (root != "importlib" or alias.asname is not None)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _dotted(node: ast.AST) -> str:
    """A name with its attributes, such as importlib.util.find_spec; empty for anything else."""
    if isinstance(node, ast.Attribute):
        above = _dotted(node.value)
        return f"{above}.{node.attr}" if above else ""
    return node.id if isinstance(node, ast.Name) else ""
