"""What the service offers, in OpenAPI's words."""

from typing import Any

from penglai.abi import eat
from penglai.abi.report import REPORT_BYTES
from penglai.verifier.evidence import EVIDENCE_MOST

OCTETS = "application/octet-stream"
JSON = "application/json"
JWKS = "application/jwk-set+json"


def describe(build: str) -> dict[str, Any]:
    """The OpenAPI description.  build: of this software."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "penglai verifier",
            "version": build,
            "description": "Judges evidence of enclaves by a policy, and signs what it finds.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/verify": {"post": _verify()},
            "/jwks.json": {
                "get": {
                    "operationId": "keys",
                    "summary": "The key that signs the verdicts, as a JSON Web Key Set.",
                    "responses": {"200": {"description": "The key.", "content": {JWKS: _object()}}},
                }
            },
            "/openapi.json": {
                "get": {
                    "operationId": "description",
                    "summary": "This description.",
                    "responses": {"200": {"description": "It.", "content": {JSON: _object()}}},
                }
            },
        },
        "components": {"schemas": {"Error": _error()}},
    }


def _verify() -> dict[str, Any]:
    return {
        "operationId": "verify",
        "summary": "Judge evidence.",
        "description": "Evidence that the policy refuses is answered with a verdict, too: one that says why.",
        "parameters": [
            {
                "name": "nonce",
                "in": "query",
                "required": True,
                "description": "The number that was sent, at most 64 bits: decimal, or hexadecimal with 0x.",
                "schema": {"type": "string", "examples": ["42", "0x2a"]},
            }
        ],
        "requestBody": {
            "required": True,
            "description": f"A report of {REPORT_BYTES} bytes, or an EAT of at most {EVIDENCE_MOST}.",
            "content": {OCTETS: {}, eat.MEDIA_TYPE: {}},
        },
        "responses": {
            "200": {
                "description": "The verdict: an EAT attestation result, as a JWT signed by ES256.",
                "content": {eat.RESULT_MEDIA_TYPE: {"schema": {"type": "string"}}},
            },
            **{
                status: {
                    "description": description,
                    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for status, description in (
                    ("400", "The nonce is none, or the body ended early."),
                    ("411", "The request does not say how long its body is."),
                    ("413", "The body is longer than evidence is."),
                    ("503", "Too many requests at once; try again."),
                )
            },
        },
    }


def _object() -> dict[str, Any]:
    return {"schema": {"type": "object"}}


def _error() -> dict[str, Any]:
    return {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
