"""The virtio device that carries the messages.

Source: Linux's net/9p/trans_virtio.c and include/uapi/linux/virtio_9p.h.
"""

import struct
from pathlib import Path

from penglai.abi.errors import BadArgumentError
from penglai.virt.devices.share import wire
from penglai.virt.devices.share.server import MAX_MSIZE, Server
from penglai.virt.devices.virtio import BrokenQueueError, Chain, VirtioDevice

REQUESTS = 0
FEATURE_TAG = 1

MAX_TAG = 255
"""Characters of the name by which a guest finds the share."""


class ShareFunction:
    """A directory for the guest.

    tag: the name by which it mounts the share.  read_only: it changes nothing in there.
    Raises BadArgumentError for a directory that cannot be opened, or a tag that cannot be.
    """

    device_id = 9
    features = FEATURE_TAG
    queues = 1

    def __init__(self, directory: Path, tag: str = "share", read_only: bool = False) -> None:
        if not 0 < len(tag) <= MAX_TAG or not tag.isascii() or not tag.isprintable():
            raise BadArgumentError(f"{tag!r} is no tag: it has 1 to {MAX_TAG} printable ASCII characters")
        self._config = struct.pack("<H", len(tag)) + tag.encode()
        try:
            self._server = Server(directory, read_only)
        except OSError as error:
            raise BadArgumentError(f"cannot share {directory}: {error.strerror}") from error
        except ValueError as error:  # a name with a zero in it
            raise BadArgumentError(f"cannot share {directory}: {error}") from error

    def config(self) -> bytes:
        return self._config

    def notified(self, device: VirtioDevice, queue: int) -> None:
        while (chain := device.pop(queue)) is not None:
            device.answer(queue, chain, self._answer(device, chain))

    def poll(self, device: VirtioDevice) -> None:
        """See Function.  Nothing comes from outside."""

    def reset(self) -> None:
        """See Function.  The client's files are closed."""
        self._server.reset()

    def close(self) -> None:
        """Close everything; so does the end of the object."""
        self._server.close()

    def _answer(self, device: VirtioDevice, chain: Chain) -> bytes:
        size = sum(size for _, size in chain.readable)
        if not wire.HEADER.size <= size <= MAX_MSIZE:
            raise BrokenQueueError(f"a message of {size} bytes")
        if chain.room < wire.ERROR_SIZE:
            raise BrokenQueueError(f"{chain.room} bytes are too few for an answer")
        return self._server.answer(device.gather(chain), chain.room)
