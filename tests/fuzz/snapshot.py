"""Snapshots that the host hands in: changed on their way, and such as only the monitor itself could seal."""

import ctypes
import functools

from penglai.abi.errors import ErrorCode
from penglai.abi.layout import HEAP_BASE, MMAP_TOP, SHARED_BASE, STACK_TOP, TEXT_BASE
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall
from penglai.abi.snapshot import (
    BUFFER_BYTES,
    ID_BYTES,
    SERVER,
    Option,
    PieceHead,
    SnapshotHead,
    SnapshotRecord,
    Why,
)
from penglai.abi.state import State
from penglai.attestation.sealed import Seal
from tests.fuzz import world
from tests.fuzz.choices import CROOKED, Choices
from tests.fuzz.world import World, case
from tests.support.rawhost import EXIT, RW, ImageSpec
from tests.support.snapshots import PIECE_HEAD, Mover

TITLE = "snapshots, changed or hostile"
fresh = world.fresh

IMAGE = ImageSpec({0x1000: (RW ^ 4 | 8, EXIT.encode()), 0x2000: (RW, b"x" * 5000)})
ADDRESSES = (
    0,
    TEXT_BASE,
    0x2000,
    HEAP_BASE,
    MMAP_TOP - PAGE_SIZE,
    STACK_TOP - PAGE_SIZE,
    SHARED_BASE,
    STACK_TOP,
)
WORDS = ctypes.sizeof(SnapshotRecord) // 8


@functools.cache
def genuine(found: World) -> tuple[bytes, ...]:
    """The pieces of a snapshot for clones, of this world's device: it is restored as often as one likes."""
    raw = found.raw
    eid = raw.make(IMAGE)
    record = raw.monitor.platform.registry.find(eid)
    assert record is not None
    record.policy = Option.CLONE << 1
    pieces = tuple(Mover(raw).pieces(eid, Option.CLONE))
    assert raw.call(HostCall.DESTROY, eid).error == 0
    raw.rewind()
    return pieces


def one(data: bytes) -> None:
    """What is restored is what was sealed, or what could be one; the rest is refused, with a reason."""
    choices = Choices(data)
    with case() as found:
        pieces = genuine(found)
        if choices.below(2):
            changed = tuple(change(choices, list(pieces)))
            restored = hand_in(found, changed)
            assert restored == (changed[: len(pieces)] == pieces), (
                "what is restored is what was sealed, to the bit"
            )
        else:
            hand_in(found, forge(found, choices, pieces))


def hand_in(found: World, pieces: tuple[bytes, ...]) -> bool:
    """Whether these pieces are an enclave."""
    raw, mover = found.raw, Mover(found.raw)
    result = mover.restore_first(*(*pieces, b"", b"")[:2])
    eid = result.value
    for piece in pieces[2:]:
        if result.error or raw.state(eid) is not State.RESTORING:
            break
        result = mover.restore_piece(eid, piece[:BUFFER_BYTES])
    if result.error:
        reasons = result.value in tuple(Why) and result.error == ErrorCode.SECURITY
        assert reasons or result.error in (
            ErrorCode.NO_MEMORY,
            ErrorCode.BAD_ARGUMENT,
            ErrorCode.ALLOCATION_FAILED,
        )
        return False
    return raw.state(eid) is not State.RESTORING


def change(choices: Choices, pieces: list[bytes]) -> list[bytes]:
    """Bits flipped, pieces cut, doubled, exchanged or lost, heads that say something else."""
    for _ in range(1 + choices.below(3)):
        if not pieces:
            break
        part, kind = choices.below(len(pieces)), choices.below(6)
        piece = bytearray(pieces[part])
        if kind == 0 and piece:
            piece[choices.number(3) % len(piece)] ^= choices.number(1)
        elif kind == 1:
            del piece[choices.number(3) % (len(piece) + 1) :]
        elif kind == 2:
            piece += choices.text()
        elif kind == 3 and part and len(piece) >= PIECE_HEAD:
            head = PieceHead.from_buffer(piece)
            head.size = choices.word((head.size,))
            head.number ^= choices.below(4)
            head.last ^= choices.below(2)
            del head
        elif kind == 4:
            pieces.insert(choices.below(len(pieces) + 1), pieces[part])
        elif kind == 5:
            del pieces[part]
            continue
        pieces[part] = bytes(piece)
    return pieces


def forge(found: World, choices: Choices, pieces: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Sealed as the monitor does it, with contents that it would never make."""
    keys = found.raw.monitor.platform.keys
    head = SnapshotHead.from_buffer_copy(pieces[0])
    head.id[:] = bytes(ID_BYTES)
    head.generation = choices.pick((0, *CROOKED))
    seal = Seal(keys.snapshot_key(bytes(head.id)), bytes(head))
    sealed = [bytes(head), bytes(seal.seal(0, [contents(found, choices, pieces)], last=choices.rarely(16)))]
    for number in range(1, 2 + choices.below(3)):
        count = choices.pick((0, 1, 2, 300, 1 << 20))
        indices = b"".join(
            choices.pick((0, 1, 2, 7, 18, (1 << 32) - 1)).to_bytes(4, "little") for _ in range(min(count, 3))
        )
        content = [count.to_bytes(4, "little"), indices, bytes(min(count, 3 - choices.below(2)) * PAGE_SIZE)]
        sealed.append(bytes(seal.seal(number, content, last=bool(choices.below(2)))))
    return tuple(sealed)


def contents(found: World, choices: Choices, pieces: tuple[bytes, ...]) -> bytes:
    """Those of a first piece: the genuine ones with some words changed, and lists of anything."""
    keys = found.raw.monitor.platform.keys
    head = SnapshotHead.from_buffer_copy(pieces[0])
    opened, _ = Seal(keys.snapshot_key(bytes(head.id)), bytes(head)).open(0, pieces[1])
    raw = bytearray(opened)
    for _ in range(choices.below(4)):
        at = 8 * choices.below(WORDS)
        raw[at : at + 8] = choices.word((0, 1, 2, 4)).to_bytes(8, "little")
    record = SnapshotRecord.from_buffer(raw)
    if choices.below(2):
        spans, regions = [], []
        for _ in range(choices.below(5)):
            spans.append(choices.word(ADDRESSES).to_bytes(8, "little"))
            spans.append((choices.word((1, 2, 16)) % (1 << 32)).to_bytes(4, "little"))
            spans.append(choices.pick((0x16, 0x1A, 0x12, 0x1E, 0x14, 0, 0x116)).to_bytes(4, "little"))
        for _ in range(choices.below(3)):
            regions.append(
                b"".join(choices.word(numbers).to_bytes(8, "little") for numbers in (ADDRESSES, (0, 1, 2)))
            )
        servers = [
            SERVER.pack(choices.word((0, 5)), bytes(32), choices.text()) for _ in range(choices.below(3))
        ]
        record.spans, record.regions, record.servers = len(spans) // 3, len(regions), len(servers)
        record.heap_pages = choices.word((0, 1))
        fixed = bytes(record)
        del record
        return b"".join([fixed, *spans, *regions, *servers])
    del record
    return bytes(raw)
