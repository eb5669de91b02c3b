"""Runs the contracts of pyproject.toml over what is imported by statement and by name, and looks at the rest.

What import-linter cannot see, because it is in no graph: a module that belongs to no package, an import that
cannot be read off, and a package of somebody else that is no declared dependency.
"""

import contextlib
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
from importlinter.adapters.building import GraphBuilder
from importlinter.application import use_cases
from importlinter.application.app_config import settings
from importlinter.configuration import configure

from tests.rooms.named import Named, imports_by_name

PACKAGE = "penglai"
REQUIREMENT = re.compile(r"[\w.-]+")
IMPORTED_AS = {"pyelftools": "elftools", "pyjwt": "jwt"}
"""Dependencies that are imported by another name than they are installed by."""


class WithNames(GraphBuilder):
    """Builds the graph of import statements, and adds what is imported by name.

    source: the directory in which the package lies.  graph: the one that was built last.
    """

    graph: grimp.ImportGraph

    def __init__(self, source: Path) -> None:
        self._source = source

    def build(self, *arguments: object, **options: object) -> grimp.ImportGraph:
        graph = self.graph = super().build(*arguments, **options)
        for importer, named in all_by_name(self._source):
            imported = named.module and _in_graph(graph, named.module)
            if imported and imported != importer:
                graph.add_import(
                    importer=importer, imported=imported, line_number=named.line, line_contents=named.text
                )
        return graph


def check(root: Path) -> list[str]:
    """Print how the contracts stand; what is wrong, a line each, or nothing.

    root: of a checkout, with pyproject.toml and src.
    """
    source = root / "src"
    configure()
    builder = WithNames(source)
    settings.configure(GRAPH_BUILDER=builder)
    with _importable_from(source):
        kept = use_cases.lint_imports(str(root / "pyproject.toml"), cache_dir=None, no_logo=True)
    broken = [] if kept else ["an import breaks a rule of the rooms: docs/architecture.md"]
    seen = builder.graph
    return [*broken, *_outside_of_packages(source, seen), *_unreadable(source), *_undeclared(root, seen)]


def all_by_name(source: Path) -> Iterator[tuple[str, Named]]:
    """(module, what it imports by name) of all modules."""
    for path in _files(source):
        module = _module(path, source)
        for named in imports_by_name(path.read_text(encoding="utf-8"), module):
            yield module, named


def _in_graph(graph: grimp.ImportGraph, module: str) -> str:
    """The module of the graph that an import of this one reaches; one of somebody else's is added."""
    if module.partition(".")[0] != PACKAGE:
        external = module.partition(".")[0]
        if external not in graph.modules:
            graph.add_module(external, is_squashed=True)
        return external
    while module not in graph.modules:
        module = module.rpartition(".")[0]
    return module


def _outside_of_packages(source: Path, graph: grimp.ImportGraph) -> Iterator[str]:
    for path in _files(source):
        if _module(path, source) not in graph.modules:
            yield f"{path.relative_to(source.parent)}: in no package of {PACKAGE}, so no rule sees it"


def _unreadable(source: Path) -> Iterator[str]:
    for module, named in all_by_name(source):
        if named.module is None:
            yield (
                f"{module}, line {named.line}: {named.text} could import anything; "
                "write an import statement, inside a function if it has to be late"
            )


def _undeclared(root: Path, graph: grimp.ImportGraph) -> Iterator[str]:
    known = _import_names(root) | sys.stdlib_module_names | {PACKAGE}
    for module in sorted(graph.modules):
        if (name := module.partition(".")[0]) not in known:
            importers = ", ".join(sorted(graph.find_modules_that_directly_import(module)))
            yield f"{name} is no dependency of pyproject.toml, and imported by {importers}"


def _import_names(root: Path) -> set[str]:
    """Names by which the dependencies are imported, those of extras too."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [line for extra in ("pytest", "fleet") for line in project["optional-dependencies"][extra]]
    names = [REQUIREMENT.match(line)[0] for line in [*project["dependencies"], *optional]]
    return {IMPORTED_AS.get(name, name) for name in names}


def _files(source: Path) -> list[Path]:
    return sorted(source.rglob("*.py"))


def _module(path: Path, source: Path) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


@contextlib.contextmanager
def _importable_from(source: Path) -> Iterator[None]:
    """The package is found in source, whichever one this process has imported; grimp only reads it."""
    mine = {name: sys.modules.pop(name) for name in (PACKAGE,) if name in sys.modules}
    sys.path.insert(0, str(source))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(source))
        sys.modules.update(mine)
