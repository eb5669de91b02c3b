"""Options that only gcc has: Makefiles for RISC-V have many of them."""

import re
from collections.abc import Iterator, Sequence

GCC_ALONE = re.compile(
    r"""
    -f(no-)?(
        aggressive-loop-optimizations | allocation-dce | analyzer | auto-inc-dec | bit-tests | branch-target
        | canonical-system-headers | code-hoisting | combine-stack | compare-elim | conserve-stack | cprop
        | crossjumping | cse | dce | delayed-branch | devirtualize-at
        | diagnostics-(plain-output|show-caret|show-labels|show-line-numbers|text-art|urls)
        | early-inlining | forward-propagate | function-cse | gcse | graphite | guess-branch | hoist
        | if-conversion2? | indirect-inlining | inline-limit | ipa | ira | isolate-erroneous | lifetime-dse
        | limit-function | live-range | loop | lra | merge-debug | modulo-sched | move-loop | optimize-strlen
        | partial-inlining | peephole2? | predictive | printf-return-value | regmove | rename-registers
        | reorder-blocks | reorder-functions | rerun | reschedule | sched2? | schedule | section-anchors
        | sel-sched | selective-scheduling2? | shrink-wrap | simd-cost | split-ivs | split-loops | split-paths
        | split-wide | ssa | stack-limit | stack-reuse | stdarg-opt | store-merging
        | strict-volatile-bitfields | thread-jumps | toplevel-reorder | tree | unconstrained
        | unroll-completely | var-tracking | vect-cost | version-loops | vpt | web
    )(-[\w-]*)?(=.*)?
    | -m(no-)?(
        align-data | branch-cost | csr-check | div | explicit-relocs | fdiv | inline | isa-spec | movcc | plt
        | preferred-stack-boundary | riscv-attribute | save-restore | shorten-memrefs | stringop-strategy
        | tune
    )(-[\w-]*)?(=.*)?
    | -static-pie | -fuse-ld=(bfd|gold|mold) | -no-canonical-prefixes
    """,
    re.VERBOSE,
)
"""What clang refuses, knows by other names, or has no library for, and what changes no program's results.

From gcc's manual, "Options That Control Optimization" and "RISC-V Options".  -static-pie has no meaning at
fixed addresses.  Other linkers are not there for RISC-V.  -no-canonical-prefixes would have clang look for
itself by the name it was called by, which is not its own.
"""

WITH_A_VALUE = ("-aux-info", "-dumpbase", "-dumpbase-ext", "-wrapper")
"""Such options whose value is the next word."""

LONG = {"--entry": "-e", "--for-assembler": "-Xassembler"}
"""Long names that clang does not know: the value is the next word, or follows an equals sign."""


def for_clang(words: Sequence[str]) -> Iterator[str]:
    """The words of a command line, without what only gcc has."""
    rest = iter(words)
    for word in rest:
        name, is_joined, value = word.partition("=")
        if word in WITH_A_VALUE:
            next(rest, None)
        elif name in LONG:
            yield from (LONG[name], *([value] if is_joined else []))
        elif not GCC_ALONE.fullmatch(word):
            yield word
