"""Evidence in both forms: what cases.toml keeps is judged as it says there, and nothing can be changed."""

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.choices import says_why
from tests.verifier.make import CASES

from penglai import AttestationError, Policy, Report, as_eat, read_evidence
from penglai.abi import eat
from penglai.abi.report import REPORT_BYTES
from penglai.attestation.report import debug_hash
from penglai.verifier.evidence import EVIDENCE_MOST

KEPT = tomllib.loads(CASES.read_text())
POLICY = Policy.parse(KEPT["policy"])
NONCE = KEPT["nonce"]
GOOD = [bytes.fromhex(case["evidence"]) for case in KEPT["good"]]
REPORT = next(data for data in GOOD if len(data) == REPORT_BYTES)
TOKEN = next(data for data in GOOD if len(data) != REPORT_BYTES)
BAD = [*KEPT["bad_report"], *KEPT["bad_token"]]


@pytest.mark.parametrize("case", KEPT["good"], ids=lambda case: case["name"])
def test_good_evidence_is_believed(case: dict):
    assert POLICY.verify(bytes.fromhex(case["evidence"]), nonce=NONCE).enclave.name == case["enclave"]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_bad_evidence_is_refused_with_its_reason(case: dict):
    with pytest.raises(AttestationError) as refused:
        POLICY.verify(bytes.fromhex(case["evidence"]), nonce=NONCE)
    assert case["reason"] in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.binary(min_size=REPORT_BYTES, max_size=REPORT_BYTES))
@example(debug_hash(bytes(range(32))) + bytes(REPORT_BYTES - 32))
def test_a_token_is_a_report_to_the_bit(data: bytes):
    token = as_eat(Report(data))
    assert read_evidence(token) == read_evidence(data) == Report(data)
    assert REPORT_BYTES != len(token) <= EVIDENCE_MOST


def test_the_token_of_this_release_is_the_token_of_the_next():
    assert as_eat(Report(REPORT)) == TOKEN
    assert len(TOKEN) == 448
    assert TOKEN.startswith(bytes.fromhex("d83d d284 47 a1013a0001116f a0"))  # tags, algorithm, nothing else


def test_a_token_says_that_the_machine_can_be_debugged():
    debuggable = Report(debug_hash(REPORT[:32]) + REPORT[32:])
    claim = bytes.fromhex("190107 00")
    assert claim in as_eat(debuggable)
    assert len(as_eat(debuggable)) == 452
    assert claim not in TOKEN


@pytest.mark.parametrize("data", [REPORT, TOKEN], ids=["report", "token"])
def test_no_byte_of_evidence_can_change(data: bytes):
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with pytest.raises(AttestationError):
            POLICY.verify(bytes(changed), nonce=NONCE)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Good evidence with a piece of it put over, into or instead of another place."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 3))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        data[at : at + size] = draw(st.binary(max_size=8))
    return bytes(data)


@given(st.one_of(damaged(), st.binary(max_size=600).map(lambda rest: bytes([eat.CWT_TAG]) + rest)))
def test_damaged_evidence_is_refused_and_nothing_worse(data: bytes):
    try:
        POLICY.verify(data, nonce=NONCE)
    except AttestationError as error:
        says_why(error)
    else:
        assert data in GOOD
