"""A mutant's code in the place of the old one, in functions that a process has already.

What runs when a module is imported, its tables and the defaults of its dataclasses among it, cannot be
exchanged so: such a mutant needs a process that has not imported it yet.
"""

import functools
import gc
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType

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


def exchange(file: Path, before: str, after: str) -> bool:
    """Give the functions of a file the code that they have in another text of it, and forget what is cached.

    False if that is not enough: what runs at import differs, or free variables do.
    """
    codes = differing(file, before, after)
    if codes is None:
        return False
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename == str(file):
            new = codes.get((each.__code__.co_qualname, each.__code__.co_firstlineno))
            if new is not None and new.co_freevars != each.__code__.co_freevars:
                return False
            each.__code__ = new or each.__code__
        elif isinstance(each, functools._lru_cache_wrapper) and _is_of(file, each):
            each.cache_clear()
    return True


def _is_of(file: Path, cached: object) -> bool:
    inner = getattr(cached, "__wrapped__", None)
    return isinstance(inner, FunctionType) and inner.__code__.co_filename == str(file)
