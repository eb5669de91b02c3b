"""Where a program that is built goes: into a file that the linker makes, or through one that is there."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from penglai.abi.errors import ToolchainError


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Path]:
    """The path that the linker is to write.

    Linkers put a new file in the place of one that is there.  What is no plain file (a device, a pipe, a link
    such as /dev/stdout) is written through instead.

    Raises ToolchainError if the target cannot be written, before anything is compiled if that can be known.
    """
    try:
        if target.is_symlink() or (target.exists() and not target.is_file()):
            with tempfile.TemporaryDirectory(prefix="penglai-") as directory, target.open("wb") as through:
                made = Path(directory, "program")
                yield made
                made_mode = made.stat().st_mode
                with made.open("rb") as program:
                    shutil.copyfileobj(program, through)
            if target.is_file():
                target.chmod(target.stat().st_mode | (made_mode & 0o111))
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ToolchainError(f"cannot write {target}: {error.strerror}") from error
    yield target
