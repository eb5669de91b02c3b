"""Evidence of both forms and a verifier's policy: the reader of tokens, and that of policies."""

import functools
import tomllib

import cbor2

from penglai.abi import eat
from penglai.abi.errors import AttestationError, BadArgumentError, PolicyError
from penglai.verifier.evidence import as_eat, read_evidence
from penglai.verifier.policy import Policy
from penglai.verifier.result import read_nonce
from tests.fuzz.choices import Choices, says_why
from tests.verifier.make import CASES

TITLE = "evidence as EAT, and policies"

KEYS = (1, 10, 256, 263, 265, 273, eat.CLAIM_DEVICE_KEY, eat.CLAIM_MONITOR_HASH, eat.CLAIM_REPORT_HASH)
TAGS = (18, 61, 2, 4, 5, 25, 28, 29, 30, 35, 36, 258, 601, 55799)


@functools.cache
def kept() -> tuple[Policy, int, tuple[bytes, ...]]:
    """Policy, nonce, and evidence that is believed."""
    table = tomllib.loads(CASES.read_text())
    good = tuple(bytes.fromhex(case["evidence"]) for case in table["good"])
    return Policy.parse(table["policy"]), table["nonce"], good


def one(data: bytes) -> None:
    """Nothing is believed but what was signed; a token that is read is the token of its report."""
    choices = Choices(data)
    kind = choices.below(5)
    if kind == 0:
        evidence = bytearray(choices.pick(kept()[2]))
        for _ in range(1 + choices.below(3)):
            evidence[choices.number(2) % len(evidence)] ^= choices.number(1)
        judge(bytes(evidence))
    elif kind == 1:
        judge(choices.take(choices.left))
    elif kind == 2:
        judge(token(choices))
    elif kind == 3:
        policy(choices)
    else:
        nonce(choices.take(choices.left).decode("utf-8", "replace"))


def judge(evidence: bytes) -> None:
    """Read and verify it."""
    policy, nonce, good = kept()
    verified = True
    try:
        report = read_evidence(evidence)
        assert evidence in (bytes(report), as_eat(report))
        policy.verify(report, nonce=nonce)
    except AttestationError as error:
        says_why(error)
        verified = False
    assert verified == (evidence in good), "what is believed is what was signed, to the bit"


def token(choices: Choices) -> bytes:
    """A token with other parts: CBOR, as far as it goes."""
    claims = {choices.pick(KEYS): item(choices, 3) for _ in range(choices.below(8))}
    header = cbor2.dumps(choices.pick(({1: eat.ALGORITHM}, {1: item(choices, 1)}, item(choices, 2))))
    parts = [header, item(choices, 2), cbor2.dumps(claims), choices.take(choices.pick((192, 64, 0)))]
    return cbor2.dumps(cbor2.CBORTag(choices.pick(TAGS[1:]), cbor2.CBORTag(choices.pick(TAGS), parts)))


def item(choices: Choices, deep: int) -> object:
    """Some value."""
    kind = choices.below(8 if deep else 5)
    if kind < 2:
        return choices.take(choices.pick((8, 32, 64, 0))) if kind else choices.word()
    if kind < 5:
        return choices.pick((None, True, 1.5, -70000, eat.PROFILE, choices.text().decode("latin-1")))
    if kind == 5:
        return [item(choices, deep - 1) for _ in range(choices.below(4))]
    if kind == 6:
        return {choices.number(1): item(choices, deep - 1) for _ in range(choices.below(4))}
    return cbor2.CBORTag(choices.pick(TAGS), item(choices, deep - 1))


def policy(choices: Choices) -> None:
    """A policy with a few places changed: it is refused, or is the one that it is written as."""
    text = str(kept()[0]).encode()
    for _ in range(1 + choices.below(3)):
        at = choices.number(2) % len(text)
        text = text[:at] + choices.text() + text[at + choices.below(24) :]
    try:
        found = Policy.parse(text.decode("utf-8", "replace"))
    except PolicyError as error:
        says_why(error)
        return
    assert Policy.parse(str(found)) == found


def nonce(text: str) -> None:
    """A nonce is read, or refused with a reason."""
    try:
        assert 0 <= read_nonce(text) < 1 << 64
    except BadArgumentError as error:
        says_why(error)
