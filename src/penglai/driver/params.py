"""The structs that the driver hands to the monitor (docs/abi.md, section 2)."""

from typing import Any

from penglai.abi.layout import NAME_BYTES
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import CreateParam, ShadowRunParam
from penglai.abi.snapshot import RestoreParam
from penglai.driver.image import PagedImage
from penglai.driver.shared import RelayPages
from penglai.driver.task import Task


def create_param(task: Task, paged: PagedImage, region: int) -> bytes:
    """For CREATE of an image laid out at physical address region."""
    image = {"paddr": region, "size": paged.size, "entry": paged.entry}
    return bytes(CreateParam(type=task.kind, **image, **_host_side(task)))


def shadow_run_param(task: Task, relay: RelayPages | None) -> bytes:
    """For RUN_SHADOW, with relay pages or none."""
    stack = -(-task.stack_size // PAGE_SIZE) * PAGE_SIZE
    pa, size = (relay.pa, len(relay)) if relay is not None else (0, 0)
    return bytes(ShadowRunParam(size=stack, relay_pa=pa, relay_size=size, **_host_side(task)))


def restore_param(task: Task, place: int, size: int) -> bytes:
    """For RESTORE of a snapshot, whose head and first piece are at physical address place."""
    host = _host_side(task)
    del host["name"]  # the snapshot has it
    return bytes(RestoreParam(blob_pa=place, blob_size=size, **host))


def _host_side(task: Task) -> dict[str, Any]:
    """The fields that say what an enclave has of the host's."""
    offset, size = task.shm_place
    return {
        "eid_pa": task.eid_word,
        "name": task.name.encode(errors="surrogateescape")[: NAME_BYTES - 1],
        "kbuffer": task.kernel_buffer,
        "kbuffer_size": PAGE_SIZE,
        "shm_paddr": task.shm.pa + offset if task.shm is not None else 0,
        "shm_size": size,
        "ocall_id_pa": task.word(0),
        "ocall_arg0_pa": task.word(1),
        "ocall_arg1_pa": task.word(2),
        "syscall_pa": task.word(3),
        "retval_pa": task.word(4),
    }
