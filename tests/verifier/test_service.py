"""The service: what it answers, what it refuses, and how it ends."""

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from tests.support.waiting import PATIENCE
from tests.verifier.make import FIRST, HASH, NONCE, POLICY, report

from penglai import BadArgumentError, KnownEnclave, Policy, Report, Verifier, as_eat
from penglai.attestation.report import debug_hash
from penglai.verifier.result import new_key, read_nonce
from penglai.verifier.service import MOST_AT_ONCE

GOOD = report()


@pytest.fixture(scope="module")
def service() -> Iterator[Verifier]:
    with Verifier(POLICY, request_seconds=PATIENCE) as running:
        yield running


def get(service: Verifier, path: str) -> Any:
    with urllib.request.urlopen(service.address + path, timeout=PATIENCE) as answer:
        return json.load(answer)


def ask(service: Verifier, evidence: bytes, query: str = f"?nonce={NONCE}") -> dict[str, Any]:
    """What the signed answer says."""
    request = urllib.request.Request(f"{service.address}/verify{query}", data=evidence, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"] == "application/eat+jwt"
        token = answer.read().decode()
    (key,) = get(service, "/jwks.json")["keys"]
    assert jwt.get_unverified_header(token)["kid"] == key["kid"]
    return jwt.decode(token, jwt.PyJWK(key), algorithms=["ES256"])


def connected(service: Verifier) -> socket.socket:
    host, port = service.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side ends."""
    found = b""
    try:
        while piece := connection.recv(4096):
            found += piece
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("evidence", [GOOD, as_eat(Report(GOOD))], ids=["report", "EAT"])
def test_good_evidence(service: Verifier, evidence: bytes):
    claims = ask(service, evidence)
    assert claims["eat_profile"] == "tag:ietf.org,2026:rats/ear#04"
    assert int(claims["eat_nonce"], 16) == NONCE
    assert claims["ear_verifier_id"]["build"] == "pypenglai"
    enclave = claims["submods"]["enclave"]
    assert enclave["ear_status"] == "affirming"
    assert enclave["ear_trustworthiness_vector"] == {
        "instance-identity": 2,
        "configuration": 2,
        "executables": 2,
    }
    assert enclave["penglai_enclave"]["measurement"] == FIRST.hex()
    assert enclave["penglai_device_key"] == Report(GOOD).device_key.hex()


def test_bad_evidence_has_a_signed_verdict_with_the_reason(service: Verifier):
    enclave = ask(service, GOOD, "?nonce=0x2a")["submods"]["enclave"]
    assert enclave["ear_status"] == "contraindicated"
    assert enclave["penglai_reason"].startswith("wrong nonce: the report has 0x102030405060708, not 0x2a")
    assert "penglai_enclave" not in enclave
    assert "328 bytes" in ask(service, b"x")["submods"]["enclave"]["penglai_reason"]


@pytest.mark.parametrize(
    ("policy", "evidence", "vector"),
    [
        (Policy([KnownEnclave(FIRST)], None, None), GOOD, (0, 2)),
        (
            Policy([KnownEnclave(FIRST)], POLICY.device_keys, None, True),
            report(monitor_hash=debug_hash(HASH)),
            (2, 32),
        ),
    ],
    ids=["any device", "debugged"],
)
def test_what_is_believed_with_a_doubt_is_a_warning(policy: Policy, evidence: bytes, vector: tuple[int, int]):
    with Verifier(policy) as running:
        enclave = ask(running, evidence)["submods"]["enclave"]
    assert enclave["ear_status"] == "warning"
    values = enclave["ear_trustworthiness_vector"]
    assert (values["instance-identity"], values["configuration"]) == vector


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        ("", GOOD, 400, "say once which nonce was sent: /verify?nonce=42"),
        ("?nonce=1&nonce=2", GOOD, 400, "say once which nonce"),
        ("?" + "a=1&" * 9 + "nonce=1", GOOD, 400, "say once which nonce"),
        ("?nonce=x", GOOD, 400, "'x' is no nonce; write it like 42"),
        ("?nonce=1_0", GOOD, 400, "'1_0' is no nonce"),
        (f"?nonce={1 << 64}", GOOD, 400, "does not fit in 64 bits"),
        (f"?nonce=0x{1 << 64:x}", GOOD, 400, "is no nonce"),
        ("?nonce=1", b"", 400, "the body is the evidence"),
        ("?nonce=1", bytes(1025), 413, "evidence has at most 1024 bytes"),
        ("?nonce=1", bytes(1 << 20), 413, "evidence has at most 1024 bytes"),
        ("/else?nonce=1", GOOD, 404, "evidence goes to /verify"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_no_request_is_refused(service: Verifier, query: str, body: bytes, status: int, message: str):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(service, body, query)
    with refused.value as answer:
        assert answer.code == status
        assert message in json.load(answer)["error"]


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"POST /verify?nonce=1 HTTP/1.1\r\n\r\n", 411),
        (b"POST /verify?nonce=1 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST /verify?nonce=1 HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /verify?nonce=1 HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"POST /verify?nonce=1 HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort", 400),
        (b"DELETE / HTTP/1.1\r\n\r\n", 501),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/9.9\r\n\r\n", None),
        (b"\x16\x03\x01\x02\r\n\r\n", None),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_hardly_http_is_refused(service: Verifier, request_text: bytes, status: int | None):
    """Whose version of HTTP nobody knows gets the body of an answer alone, as in the first one."""
    with connected(service) as connection:
        connection.sendall(request_text)
        connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert json.loads(body)["error"]
    assert head.startswith(b"HTTP/1.0 %d " % status) if status else not head


def test_no_more_is_read_than_a_request_has(service: Verifier):
    """Its length comes behind more than is read; without that limit, it would be a good request."""
    head = f"POST /verify?nonce={NONCE} HTTP/1.1\r\n" + f"A: {'b' * 60_000}\r\n" * 4
    with connected(service) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(f"{head}Content-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.0 411 ") or not answer


def test_it_says_what_it_offers(service: Verifier):
    description = get(service, "/openapi.json")
    assert description["openapi"].startswith("3.1")
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"]
            if method == "get":
                assert get(service, path)
            else:
                assert (path, method) == ("/verify", "post")
                assert [(each["name"], each["required"]) for each in operation["parameters"]] == [
                    ("nonce", True)
                ]
                assert operation["requestBody"]["required"]
                assert {"200", "400", "411", "413", "503"} == set(operation["responses"])


@pytest.mark.parametrize("text", [str(1 << 64), "-1", " 1", "1_0", "0x", "", "\uff11"])
def test_what_is_no_nonce(text: str):
    with pytest.raises(BadArgumentError, match="nonce"):
        read_nonce(text)


@pytest.mark.parametrize("text", ["0", "42", "0x2A", "0xffffffffffffffff", str((1 << 64) - 1)])
def test_what_is_a_nonce(text: str):
    assert read_nonce(text) == int(text, 0)


def test_many_at_once(service: Verifier):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(service, GOOD, f"?nonce={NONCE + number % 2}"), range(40)))
    found = [claims["submods"]["enclave"]["ear_status"] for claims in answers]
    assert found == ["affirming", "contraindicated"] * 20


def test_who_comes_when_it_is_full_is_told():
    with Verifier(POLICY, request_seconds=PATIENCE) as running:
        held = [connected(running) for _ in range(MOST_AT_ONCE)]
        with connected(running) as late:
            assert everything(late).startswith(b"HTTP/1.0 503 ")
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    "begun", [b"", b"POST /ver", b"POST /verify?nonce=1 HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"]
)
def test_who_takes_too_long_is_cut_off(begun: bytes):
    with Verifier(POLICY, request_seconds=0) as running, connected(running) as slow:
        with contextlib.suppress(OSError):
            slow.sendall(begun)
        everything(slow)  # returns, whenever that is


def test_close_waits_for_nobody_and_frees_the_port():
    running = Verifier(POLICY)
    with connected(running) as idle:
        running.close()
        assert everything(idle) == b""
    running.close()
    running.wait()
    listen = running.address.removeprefix("http://")
    taken = pytest.raises(BadArgumentError, match=f"cannot listen at {listen}: Address already in use")
    with Verifier(POLICY, listen), taken:
        Verifier(POLICY, listen)


def test_wait_returns_when_it_is_closed(service: Verifier):
    running = Verifier(POLICY)
    waiting = threading.Thread(target=running.wait)
    waiting.start()
    running.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_a_key_signs_in_every_life_of_the_service():
    key = new_key()
    found = []
    for _ in range(2):
        with Verifier(POLICY, key=key) as running:
            found.append(get(running, "/jwks.json"))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"listen": "127.0.0.1"}, "'127.0.0.1' is no place to listen at; write it like 127.0.0.1:0"),
        ({"listen": ":80"}, "no place"),
        ({"listen": "127.0.0.1:x"}, "no place"),
        ({"listen": "127.0.0.1:99999"}, "cannot listen at 127.0.0.1:99999: "),
        ({"listen": "no host:1"}, "cannot listen at no host:1: "),
        ({"key": b"no key"}, "the verifier's key is no private key"),
    ],
    ids=str,
)
def test_what_cannot_be(arguments: dict, message: str):
    with pytest.raises(BadArgumentError, match=message):
        Verifier(POLICY, **arguments)
