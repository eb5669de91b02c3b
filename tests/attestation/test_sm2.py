"""SM2: the standard's example, what is no signature, and two libraries against each other."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.waiting import PATIENCE

from penglai.abi.errors import AttestationError
from penglai.attestation import sm2, sm2_pure

LIBRARIES: list[ModuleType] = [sm2_pure]
if importlib.util.find_spec("tongsuopy"):
    from penglai.attestation import sm2_native

    LIBRARIES.append(sm2_native)

# GB/T 32918.5-2017, appendix A.2
PRIVATE = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
PUBLIC = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
MESSAGE = b"message digest"
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
ZERO, ORDER, HUGE = bytes(32), sm2.ORDER.to_bytes(32, "big"), b"\xff" * 32


@pytest.fixture(params=LIBRARIES, ids=lambda module: module.__name__.rpartition("_")[2])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Every library that is installed does the arithmetic in turn."""
    monkeypatch.setattr(sm2, "library", request.param)
    return request.param


def test_the_example_of_the_standard(library: ModuleType):
    assert sm2.public_key(PRIVATE) == PUBLIC
    assert sm2.verify(PUBLIC, MESSAGE, SIGNATURE)


def test_what_is_signed_verifies_and_nothing_else(library: ModuleType):
    private = sm2.generate()
    public = sm2.public_key(private)
    signature = sm2.sign(private, b"text")
    assert (len(private), len(public), len(signature)) == (32, 64, 64)
    assert sm2.verify(public, b"text", signature)
    assert not sm2.verify(public, b"Text", signature)
    assert not sm2.verify(PUBLIC, b"text", signature)
    assert sm2.sign(private, b"text") != signature


@pytest.mark.parametrize("first", LIBRARIES)
@pytest.mark.parametrize("second", LIBRARIES)
@settings(max_examples=examples(10))
@given(message=st.binary(max_size=200))
def test_the_libraries_agree(first: ModuleType, second: ModuleType, message: bytes):
    private = int.from_bytes(sm2.generate(), "big")
    point = second.public_key(private)
    assert point == first.public_key(private)
    assert second.verify(point, message, first.sign(private, message))


@pytest.mark.parametrize(
    "signature",
    [
        *(b"", SIGNATURE[:-1], SIGNATURE + b"\0", bytes(64)),
        *(ZERO + SIGNATURE[32:], SIGNATURE[:32] + ZERO),
        *(ORDER + SIGNATURE[32:], SIGNATURE[:32] + ORDER),
        *(HUGE + SIGNATURE[32:], SIGNATURE[:32] + HUGE),
        # r + s = order, which the standard forbids
        SIGNATURE[:32] + (sm2.ORDER - int.from_bytes(SIGNATURE[:32], "big")).to_bytes(32, "big"),
    ],
    ids=lambda signature: signature.hex()[56:72] or "empty",
)
def test_what_is_no_signature_does_not_verify(library: ModuleType, signature: bytes, capfd):
    assert not sm2.verify(PUBLIC, MESSAGE, signature)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "public",
    [
        *(b"", PUBLIC[:-1], b"\x04" + PUBLIC, bytes(64), b"\xff" * 64, b"\1" * 64),
        PUBLIC[32:] + PUBLIC[:32],
        sm2.P.to_bytes(32, "big") + PUBLIC[32:],
    ],
    ids=lambda public: public.hex()[:16] or "empty",
)
def test_under_what_is_no_key_nothing_verifies(library: ModuleType, public: bytes):
    assert not sm2.verify(public, MESSAGE, SIGNATURE)


@settings(max_examples=examples(50))
@given(bit=st.integers(0, 64 * 8 - 1), where=st.sampled_from(["key", "signature"]))
def test_no_bit_can_change(bit: int, where: str):
    flipped = (1 << bit).to_bytes(64, "big")
    public = bytes(a ^ b for a, b in zip(PUBLIC, flipped, strict=True)) if where == "key" else PUBLIC
    signature = bytes(a ^ b for a, b in zip(SIGNATURE, flipped, strict=True)) if where != "key" else SIGNATURE
    assert not sm2.verify(public, MESSAGE, signature)


@pytest.mark.parametrize("private", [b"", ZERO, ORDER, HUGE, PRIVATE[:-1], PRIVATE + b"\0"])
def test_what_is_no_private_key_is_refused(private: bytes):
    with pytest.raises(AttestationError, match="no private key"):
        sm2.sign(private, b"")
    with pytest.raises(AttestationError, match="no private key"):
        sm2.public_key(private)


def test_private_keys_differ():
    assert len({sm2.generate() for _ in range(100)}) == 100


def test_without_the_native_library_the_other_one_does_the_work():
    program = f"""
import sys
sys.modules["tongsuopy"] = None  # what Python does for a package that is not there
from penglai.attestation import sm2, sm2_pure
assert sm2.library is sm2_pure
private = sm2.generate()
assert sm2.verify(sm2.public_key(private), b"text", sm2.sign(private, b"text"))
assert sm2.verify({PUBLIC!r}, {MESSAGE!r}, {SIGNATURE!r})
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)
