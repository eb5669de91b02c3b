"""The files of penglai.ko have an order without circles: each calls only files that stand before it."""

import re
from pathlib import Path

from penglai.sdk.hostbuild import module_dir

FILE = re.compile(r"\b(\w+)\.c\b")
COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.DOTALL)
DEFINED = re.compile(
    r"^(?!static\b|struct \w+ \{|enum\b|typedef\b|#)[a-z][\w *()]*?\b(\w+)"
    r"(?:\([^;{]*\)\n\{|(?:\[\w*\])?(?: = [^;]*)?;)",
    re.MULTILINE,
)
"""What a file defines for others: a function, or a variable."""
MUTEX = re.compile(r"^DEFINE_MUTEX\((\w+)\)", re.MULTILINE)


def stated() -> list[str]:
    """The order that penglai.h states."""
    text = (module_dir() / "penglai.h").read_text()
    return FILE.findall(text[text.index("The files,") : text.index("Locks,")])


def code(name: str) -> str:
    return COMMENT_OR_TEXT.sub("", (module_dir() / f"{name}.c").read_text())


def defined(name: str) -> set[str]:
    return {*DEFINED.findall(code(name)), *MUTEX.findall(code(name))}


def test_the_order_is_that_of_the_files_and_of_their_linking():
    order = stated()
    assert sorted(order) == sorted(path.stem for path in Path(module_dir()).glob("*.c"))
    linked = re.search(r"^penglai-y := (.*)$", (module_dir() / "Kbuild").read_text(), re.MULTILINE)
    assert linked is not None
    assert linked[1].split() == [f"{name}.o" for name in order]


def test_definitions_are_found():
    assert defined("contig") == {"contig_alloc", "contig_free"}
    assert {"owners_lock", "owner_get_current", "owner_first"} <= defined("owner")
    assert {"penglai_device", "penglai_workqueue", "base_init"} <= defined("base")
    assert "pool_reclaim_work" in defined("pool")


def test_each_file_uses_only_those_before_it():
    order = stated()
    home = {symbol: name for name in order for symbol in defined(name)}
    circles = [
        f"{name}.c uses {symbol} of {home[symbol]}.c"
        for place, name in enumerate(order)
        for symbol in sorted(set(re.findall(r"\w+", code(name))) & set(home))
        if order.index(home[symbol]) > place
    ]
    assert circles == []


def test_all_that_the_header_declares_is_found():
    header = COMMENT_OR_TEXT.sub("", (module_dir() / "penglai.h").read_text())
    declared = set(re.findall(r"^(?!\s).*?\b(\w+)\([^{}]*?\);", header, re.MULTILINE))
    assert {"pool_reclaim_soon", "enclave_instantiate"} <= declared
    assert declared <= {symbol for name in stated() for symbol in defined(name)}
