"""Reading a file that a user names."""

import errno
import os
import stat
from pathlib import Path


def read_whole(path: Path) -> bytes:
    """All of a file, or of a pipe.  Raises OSError, also for a device: it may have no end."""
    with path.open("rb") as file:
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is a device", str(path))
        return file.read()
