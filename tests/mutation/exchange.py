"""A mutant's code in the place of the old one, in functions that a process has already.

What runs when a module is imported, its tables and the defaults of its dataclasses among it, cannot be
exchanged so: such a mutant needs a process that has not imported it yet.
"""

import functools
import gc
from collections import defaultdict
from dataclasses import dataclass, field
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

Name = tuple[str, int]
"""Of a function in a file: its qualified name, and its first line."""


def differing(file: Path, before: str, after: str) -> dict[Name, CodeType] | None:
    """The code of each function of a file that differs; None if what runs at import differs.

    file: as which functions know it.
    """
    found: dict[Name, CodeType] = {}
    old, new = (compile(text, str(file), "exec", dont_inherit=True) for text in (before, after))
    return found if _compare(old, new, found) else None


def _compare(old: CodeType, new: CodeType, found: dict[Name, CodeType]) -> bool:
    """Collect what differs below; False if it cannot be exchanged."""
    inner = list(zip(_nested(old), _nested(new), strict=False))
    known = set(found)
    if not all(_compare(*pair, found) for pair in inner):
        return False
    if _shape(old) == _shape(new) and (not old.co_flags & CO_OPTIMIZED or known == set(found)):
        return True
    name = (old.co_qualname, old.co_firstlineno)
    if not old.co_flags & CO_OPTIMIZED or name in found:
        return False
    found[name] = new
    return True


def _nested(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _shape(code: CodeType) -> tuple[object, ...]:
    """What a code object does, without what is nested in it, and without its lines."""
    constants = [each.co_qualname if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, code.co_exceptiontable, constants, arguments, names


@dataclass
class Kept:
    """What a process has of a file: its functions, and those whose results are cached."""

    functions: list[FunctionType] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)


def kept_by_file() -> dict[str, Kept]:
    """Of all files, in this process.  To look for it in each fork would copy all of its memory."""
    found: defaultdict[str, Kept] = defaultdict(Kept)
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            found[each.__code__.co_filename].functions.append(each)
        elif isinstance(each, functools._lru_cache_wrapper) and isinstance(each.__wrapped__, FunctionType):
            found[each.__wrapped__.__code__.co_filename].caches.append(each)
    return found


def exchange(kept: Kept, codes: dict[Name, CodeType]) -> bool:
    """Give functions other code, and forget what they have cached.  False if their free variables differ."""
    for function in kept.functions:
        old = function.__code__
        new = codes.get((old.co_qualname, old.co_firstlineno), old)
        if new.co_freevars != old.co_freevars:
            return False
        function.__code__ = new
    for cached in kept.caches:
        cached.cache_clear()
    return True
