"""The verifier as a service: HTTP, evidence in, signed verdicts out.

Whoever connects is hostile: what it sends, how much, how slowly and how often all have limits.  One request
for each connection.  There is no TLS here, nor anything that tells one client from another: a proxy in
front of it has both.
"""

import contextlib
import io
import json
import logging
import socket
import socketserver
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from penglai.abi import eat
from penglai.abi.errors import BadArgumentError
from penglai.verifier.description import JSON, JWKS, describe
from penglai.verifier.evidence import EVIDENCE_MOST
from penglai.verifier.policy import Policy
from penglai.verifier.result import Signer, appraise, new_key, read_nonce

log = logging.getLogger(__name__)

MOST_AT_ONCE = 32
"""Connections; who comes later is told to try again."""

REQUEST_SECONDS = 30.0
"""From accepting a connection to the end of the answer."""

MOST_SKIPPED = 1 << 16
"""Bytes of a body that is too long which are still read, so that its sender gets to the answer."""

MOST_READ = 1 << 17
"""Bytes that are read of one connection, headers and all; behind them it has ended."""

BUSY = (
    b'HTTP/1.0 503 Service Unavailable\r\nContent-Type: application/json\r\n\r\n{"error": "busy; try again"}'
)
ANY_PORT = "127.0.0.1:0"
MOST_FIELDS = 8


class Verifier:
    """A service that judges evidence by a policy, from here until `close`.

    policy: what is believed.  listen: where, as HOST:PORT; port 0 is any that is free.  key: private, signs
    the verdicts, as `penglai.verifier.result.new_key` makes it; without it one that is gone afterwards.
    build: of this software, as verdicts name it.  request_seconds: how long one request may take, all in all.

    A context manager.  Raises BadArgumentError if it cannot listen there, or for a key that is none.
    """

    def __init__(
        self,
        policy: Policy,
        listen: str = ANY_PORT,
        *,
        key: bytes | None = None,
        build: str = "pypenglai",
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        signer = Signer(new_key() if key is None else key)
        host, port = _split(listen)
        try:
            self._server = _Server(host, port, _Work(policy, signer, build), request_seconds)
        except (OSError, UnicodeError, OverflowError) as error:
            raise BadArgumentError(f"cannot listen at {listen}: {_reason(error)}") from error
        found, port = self._server.server_address[:2]
        name = str(found)
        self.address = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
        """Where it answers, as the beginning of a URL."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="penglai-verifier", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when somebody has closed it."""
        self._thread.join()

    def close(self) -> None:
        """Answer nobody any more, and end.  More than once does nothing."""
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Work:
    """What the service does, apart from HTTP."""

    def __init__(self, policy: Policy, signer: Signer, build: str) -> None:
        self._policy, self._signer, self._build = policy, signer, build
        self.documents = {
            "/openapi.json": (JSON, json.dumps(describe(build)).encode()),
            "/jwks.json": (JWKS, json.dumps({"keys": [signer.jwk]}).encode()),
        }
        """Media type and content of what can be read, by path."""

    def verify(self, evidence: bytes, nonce: int) -> tuple[bytes, dict[str, Any]]:
        """The signed verdict, and what it says of the enclave."""
        claims = appraise(self._policy, evidence, nonce, build=self._build, now=int(time.time()))
        return self._signer.sign(claims).encode(), claims["submods"]["enclave"]


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Takes connections, as many at once as are allowed, and ends those that take too long."""

    allow_reuse_address = True
    daemon_threads = True  # so that a process that is ended anyhow is not held up
    request_queue_size = 2 * MOST_AT_ONCE

    def __init__(self, host: str, port: int, work: _Work, seconds: float) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.work = work
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, if not too many are at it."""
        with self._lock:
            busy = len(self._open) >= MOST_AT_ONCE
            if not busy:
                self._open[request] = time.monotonic() + self._seconds
        if busy:
            request.setblocking(False)
            with contextlib.suppress(OSError):
                request.sendall(BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system gives no thread
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Called at the end of each connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called every half second."""
        super().service_actions()
        self.end_connections(time.monotonic())

    def end_connections(self, now: float = float("inf")) -> None:
        """End those whose time is over at `now`, or all: who reads or writes there, notices."""
        with self._lock:
            late = [each for each, until in self._open.items() if until <= now]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's
        """Clients that go away are none of our business; anything else is a mistake of ours."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request went wrong")


class _Sparing(io.RawIOBase):
    """What a connection sends, as far as it is read."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = MOST_READ

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; 0 at the end, and where enough has been read."""
        count = self._connection.recv_into(memoryview(buffer)[: self._left]) if self._left else 0
        self._left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    server_version = "penglai-verifier"
    sys_version = ""

    def setup(self) -> None:
        """Read sparingly."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Sparing(self.connection))

    def do_GET(self) -> None:
        document = self.server.work.documents.get(urlsplit(self.path).path)
        if document is None:
            paths = ", ".join((*self.server.work.documents, "/verify (POST)"))
            self.send_error(HTTPStatus.NOT_FOUND, f"there are {paths}")
            return
        self._answer(HTTPStatus.OK, *document)

    def do_POST(self) -> None:
        path, query = urlsplit(self.path)[2:4]
        if path != "/verify":
            self.send_error(HTTPStatus.NOT_FOUND, "evidence goes to /verify")
            return
        evidence = self._body()
        if evidence is None:
            return
        try:
            verdict, found = self.server.work.verify(evidence, _nonce(query))
        except BadArgumentError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
            return
        said = found.get("penglai_reason") or found["penglai_enclave"].get("name", "")
        log.info("%s: %s: %s", self.client_address[0], found["ear_status"], said)
        self._answer(HTTPStatus.OK, eat.RESULT_MEDIA_TYPE, verdict)

    def _body(self) -> bytes | None:
        """The body; None for one that is refused, which has been answered."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "say how long the evidence is: Content-Length")
            return None
        if len(length) > len(str(MOST_SKIPPED)) or int(length) > EVIDENCE_MOST:
            self.rfile.read(min(int(length[:9]), MOST_SKIPPED))
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"evidence has at most {EVIDENCE_MOST} bytes"
            )
            return None
        body = self.rfile.read(int(length))
        if not body or len(body) != int(length):
            self.send_error(HTTPStatus.BAD_REQUEST, "the body is the evidence: a report, or an EAT of one")
            return None
        return body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the base class's
        """The answer to a request that is refused: JSON, not a page."""
        status = HTTPStatus(code)
        self._answer(status, JSON, json.dumps({"error": message or status.phrase}).encode())

    def _answer(self, status: HTTPStatus, media_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log what the base class has to say, for who looks for a mistake."""
        log.debug(format, *args)


def _nonce(query: str) -> int:
    try:
        given = parse_qs(query, max_num_fields=MOST_FIELDS).get("nonce", [])
    except ValueError:
        given = []
    if len(given) != 1:
        raise BadArgumentError("say once which nonce was sent: /verify?nonce=42")
    return read_nonce(given[0])


def _split(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not host or not colon or not (port.isascii() and port.isdigit()) or len(port) > len("65535"):
        raise BadArgumentError(f"{listen!r} is no place to listen at; write it like {ANY_PORT} or [::1]:0")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
