"""The program that clang calls as its linker: lld, with the layout and the defaults of penglai's programs."""

import shlex
from pathlib import Path

from penglai.toolchain.compiler import zig_path

GNU_ALONE = (
    *("-*warn-rwx-segments", "-*error-rwx-segments", "-*warn-execstack*", "-*error-execstack"),
    *("-*add-needed", "-*copy-dt-needed-entries", "-*warn-search-mismatch", "-*warn-section-align"),
    *("-*warn-alternate-em", "-*warn-constructors", "-*warn-multiple-gp", "-*warn-textrel"),
    *("-*reduce-memory-overheads", "-*hash-size=*", "-*max-cache-size=*", "-*traditional-format"),
    *("-*ld-generated-unwind-info", "-*print-output-format", "-*print-map-*", "-*no-define-common"),
    *("-*ctf-variables", "-*ctf-share-types=*", "-*accept-unknown-input-arch", "-*default-symver"),
    *("-*strip-discarded", "-*dynamic-list-data", "-*poison-system-directories"),
    *("-*spare-dynamic-tags=*", "-*gc-keep-exported", "-*sort-common=*", "-*stub-group-size=*"),
    *("-*disable-multiple-abs-defs", "-*check-relocs", "-Bgroup", "-qmagic", "-d[cp]", "-Q[yn]"),
)
"""Patterns of options that only GNU ld has, and that change no static program."""

PROGRAM = """#!/bin/sh
# lld, with the layout and the defaults of penglai's programs; whatever the command line says comes later.
script={script}
relocatable=
left=$#
while test $left -gt 0; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
    -shared | --shared | -Bshareable)
        echo "penglai: a program here is static: shared libraries cannot be linked" >&2
        exit 1 ;;
    -r | -i | -Ur | --relocatable)
        relocatable=1
        word=-r ;;
    # libtool takes a line of this for a promise of shared libraries
    --help) {zig} ld.lld --help | sed '/supported targets/d'; exit ;;
    {gnu_alone}) continue ;;
    -Ttext* | -Tdata* | -Tbss*) ;;
    -T)
        case $1 in
        text=* | data=* | bss=*) # clang makes two words of it
            word=-T$1
            shift
            left=$((left - 1)) ;;
        *) script= ;;
        esac ;;
    -T* | --script* | -script* | --default-script* | -dT*) script= ;;
    esac
    set -- "$@" "$word"
done
test "$relocatable" && exec {zig} ld.lld "$@"
test "$script" && set -- -T "$script" "$@"
# what is compiled only here, by -flto, has to be told the instruction set again
exec {zig} ld.lld --gc-sections -z nostart-stop-gc -mllvm -mattr={extensions} "$@"
"""


def make_linker(path: Path, script: Path | None, letters: str) -> None:
    """Write the program.  script: the layout, or None for lld's own.  letters: of the instruction set."""
    text = PROGRAM.format(
        zig=shlex.quote(str(zig_path())),
        script=shlex.quote(str(script)) if script else "",
        gnu_alone=" | ".join(GNU_ALONE),
        extensions=",".join(f"+{letter}" for letter in letters),
    )
    path.write_text(text, "utf-8", "surrogateescape")
    path.chmod(0o755)
