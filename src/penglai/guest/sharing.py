"""Which directories of the real machine the guest sees."""

import os
from pathlib import Path
from typing import NamedTuple, Self

from penglai.abi.errors import BadArgumentError

READ_ONLY = ":ro"
READ_WRITE = ":rw"

USERS_TAG = "share"
"""The share that our init mounts on /share."""


class Share(NamedTuple):
    """A directory for the guest.

    tag: by which the guest mounts it; what has the tag "share", init does.  read_only: the guest changes
    nothing in there.
    """

    directory: Path
    tag: str = USERS_TAG
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "DIR", "DIR:ro" or "DIR:rw".  A directory whose name ends in :ro needs the :rw.

        Raises BadArgumentError if there is no DIR.
        """
        suffix = next((suffix for suffix in (READ_ONLY, READ_WRITE) if text.endswith(suffix)), "")
        directory = text.removesuffix(suffix)
        if not directory:
            raise BadArgumentError(f"cannot share {text!r}: it names no directory")
        return cls(Path(directory), read_only=suffix == READ_ONLY)

    def check(self) -> None:
        """Raise BadArgumentError if it is no directory that can be opened."""
        try:
            os.close(os.open(self.directory, os.O_PATH | os.O_DIRECTORY))
        except OSError as error:
            raise BadArgumentError(f"cannot share {self.directory}: {error.strerror}") from error
