"""Policies: what they believe, and what is said about one that cannot be meant so."""

import dataclasses
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.choices import says_why
from tests.verifier.make import DEVICE, FIRST, HASH, NONCE, OTHER, POLICY, SECOND, THIRD, report

from penglai import (
    AttestationError,
    BadArgumentError,
    KnownEnclave,
    Policy,
    PolicyError,
    as_eat,
    read_evidence,
)
from penglai.attestation import sm2
from penglai.attestation.report import debug_hash
from penglai.attestation.scheme import Scheme
from penglai.verifier.policyfile import KINDS, MOST_BYTES

KEY = sm2.public_key(DEVICE)
GOOD = f"""
device_keys = ["{KEY.hex()}"]
monitor_hashes = "any"

[[enclave]]
measurement = "{FIRST.hex()}"
"""


def without(key: str) -> str:
    return "\n".join(line for line in GOOD.splitlines() if not line.startswith(key))


def test_what_is_not_said_is_the_strict_form():
    policy = Policy.parse(GOOD)
    assert policy == Policy([KnownEnclave(FIRST)], [KEY], None, allow_debug=False)
    (enclave,) = policy.enclaves
    assert (enclave.name, enclave.kind, enclave.scheme) == ("", None, "penglai-2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", r"it is no TOML: Invalid value \(at end of document\)"),
        ("x = " + "[" * 5000, "nested too deeply"),
        (f"x = {'1' * 5000}", "it is no TOML: "),
        (
            f"allow-debug = true\n{GOOD}",
            "p: allow-debug: there is no such key; there are allow_debug, device_keys",
        ),
        (f"allow_debug = 'yes'\n{GOOD}", "p: allow_debug: it is true or false, not 'yes'"),
        (f"allow_debug = 1\n{GOOD}", "p: allow_debug: it is true or false, not 1"),
        (without("device_keys"), 'p: device_keys is missing: a list of hex digits, or "any"'),
        (without("monitor_hashes"), "p: monitor_hashes is missing"),
        (
            GOOD.replace('"any"', '"all"'),
            "p: monitor_hashes: it is a list of hex digits, or \"any\", not 'all'",
        ),
        (GOOD.replace('"any"', "[]"), 'p: monitor_hashes: none would be trusted; .* monitor_hashes = "any"'),
        (GOOD.replace('"any"', '["00"]'), r"p: monitor_hashes\[0\]: it has 64 hex digits, and this has 2"),
        (GOOD.replace('"any"', "[7]"), r"p: monitor_hashes\[0\]: it is a string of hex digits, not 7"),
        (GOOD.replace('"any"', '["0x00"]'), r"p: monitor_hashes\[0\]: '0x00' is not hexadecimal"),
        (
            GOOD.replace("[[enclave]]", "[enclave]"),
            r"p: enclave: write each one under a line \[\[enclave\]\]",
        ),
        ("enclave = [1]\n" + GOOD.partition("[[")[0], r"p: enclave: write each one under a line"),
        (without("measurement"), r"p: enclave\[0\].measurement is missing"),
        (GOOD.replace(FIRST.hex(), "0 0"), r"p: enclave\[0\].measurement: '0 0' is not hexadecimal"),
        (GOOD.replace(FIRST.hex(), "00"), r"p: enclave\[0\].measurement: each has 64 hex digits .* this 2"),
        (GOOD + "[[enclave]]\nmeasurement = 5", r"p: enclave\[1\].measurement: it is a string, not 5"),
        (
            GOOD + "kinds = 'server'",
            r"p: enclave\[0\].kinds: there is no such key; there are measurement, name",
        ),
        (GOOD + "kind = 'servant'", r"p: enclave\[0\].kind: there is no 'servant'; there are normal, server"),
        (GOOD + "scheme = 'md5'", r"p: enclave\[0\].scheme: there is no 'md5'; there are penglai-2, sm3"),
        (GOOD + "kind = 'server'\nscheme = 'sm3'", "kind: the scheme sm3 does not measure it; leave it out"),
        (
            GOOD + r'name = "a\nb"',
            r"p: enclave\[0\].name: it has at most 100 characters, all of them printable",
        ),
        (GOOD.partition("[[")[0], "p: it names no enclave"),
    ],
)
def test_what_is_wrong_in_a_policy_is_said_and_where(text: str, message: str):
    with pytest.raises(PolicyError, match=message):
        Policy.parse(text, "p")


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(PolicyError, match=r"cannot read .*none.toml: No such file"):
        Policy.load(tmp_path / "none.toml")
    with pytest.raises(PolicyError, match="Is a directory"):
        Policy.load(tmp_path)
    with pytest.raises(PolicyError, match="null"):
        Policy.load("a\0b")
    file = tmp_path / "policy.toml"
    file.write_bytes(b"# \xff")
    with pytest.raises(PolicyError, match=r"policy.toml: it is no text in UTF-8 \(byte 2\)"):
        Policy.load(file)
    file.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(PolicyError, match=f"at most {MOST_BYTES} bytes"):
        Policy.load(file)
    file.write_text(GOOD)
    assert Policy.load(file) == Policy.parse(GOOD)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    printable = st.text(st.characters().filter(str.isprintable), max_size=20)
    keys, hashes, measurements = (st.binary(min_size=size, max_size=size) for size in (64, 32, 32))
    schemes = st.sampled_from(list(Scheme))
    enclaves = []
    for measurement, name, scheme in draw(
        st.lists(st.tuples(measurements, printable, schemes), min_size=1, max_size=4)
    ):
        kind = draw(st.sampled_from((None, *KINDS))) if scheme is Scheme.PENGLAI_2 else None
        enclaves.append(KnownEnclave(measurement, name, kind, scheme))
    trusted = [draw(st.none() | st.lists(each, min_size=1, max_size=3)) for each in (keys, hashes)]
    return Policy(enclaves, *trusted, allow_debug=draw(st.booleans()))


@given(policies())
def test_a_policy_is_read_as_it_was_written(policy: Policy):
    assert Policy.parse(str(policy)) == policy


@given(policies(), st.data())
def test_a_damaged_policy_is_refused_or_means_something(policy: Policy, data: st.DataObject):
    text = str(policy)
    at, size = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 9))
    text = text[:at] + data.draw(st.text(max_size=5)) + text[at + size :]
    try:
        again = Policy.parse(text)
    except PolicyError as error:
        says_why(error)
    else:
        assert Policy.parse(str(again)) == again


def test_of_many_enclaves_it_says_which_it_is():
    verdict = POLICY.verify(report(SECOND, scheme="tvm-legacy"), nonce=NONCE)
    assert verdict.enclave.name == "second"
    assert verdict.report == read_evidence(as_eat(verdict.report))
    assert POLICY.verify(verdict.report, nonce=NONCE) == verdict


def test_the_reason_names_a_few_of_many_enclaves():
    rng = random.Random(1)
    policy = Policy([KnownEnclave(rng.randbytes(32), f"e{number}") for number in range(9)], None, None)
    with pytest.raises(AttestationError, match=r"enclaves \(e0, e1, e2, e3, e4, and 4 more\)"):
        policy.verify(report(), nonce=NONCE)


def test_of_one_enclave_it_says_as_much_as_a_report_does():
    with pytest.raises(AttestationError, match="old scheme"):
        Policy([KnownEnclave(FIRST)], None, None).verify(report(scheme="sm3"), nonce=NONCE)


def test_any_device_and_any_monitor():
    evidence = report(device=OTHER, monitor_hash=THIRD)
    Policy([KnownEnclave(FIRST)], None, None).verify(evidence, nonce=NONCE)
    with pytest.raises(AttestationError, match="wrong device"):
        Policy([KnownEnclave(FIRST)], [KEY], None).verify(evidence, nonce=NONCE)
    with pytest.raises(AttestationError, match="wrong monitor"):
        Policy([KnownEnclave(FIRST)], None, [HASH]).verify(evidence, nonce=NONCE)


def test_a_debugged_machine_is_believed_where_the_policy_says_so():
    evidence = report(monitor_hash=debug_hash(HASH))
    lenient = Policy([KnownEnclave(FIRST)], [KEY], [HASH], allow_debug=True)
    assert lenient.verify(evidence, nonce=NONCE).report.debuggable
    with pytest.raises(AttestationError, match="wrong monitor"):
        Policy([KnownEnclave(FIRST)], [KEY], [THIRD], allow_debug=True).verify(evidence, nonce=NONCE)


def test_what_was_judged_by_cannot_change_afterwards():
    verdict = POLICY.verify(report(), nonce=NONCE)
    for each, name in ((POLICY, "allow_debug"), (verdict, "enclave"), (verdict.enclave, "measurement")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(each, name, None)


def test_a_name_has_100_characters_at_most():
    assert KnownEnclave(FIRST, "ä" * 100).name == "ä" * 100
    with pytest.raises(PolicyError, match="name: it has at most 100 characters"):
        KnownEnclave(FIRST, "ä" * 101)


def test_arguments_that_cannot_be():
    with pytest.raises(BadArgumentError, match="does not fit in 64 bits"):
        POLICY.verify(report(), nonce=1 << 64)
    with pytest.raises(PolicyError, match="measurement: each has 64 hex digits"):
        KnownEnclave(b"short")
    with pytest.raises(PolicyError, match="device_keys: each has 128 hex digits"):
        Policy([KnownEnclave(FIRST)], [b"short"], None)
