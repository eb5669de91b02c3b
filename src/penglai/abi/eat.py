"""Reports as Entity Attestation Tokens (RFC 9711), which are CBOR Web Tokens (RFC 8392) in COSE (RFC 9052).

SM2 is in no registry of COSE's: algorithm and claims are of the ranges for private use (docs/evidence.md).
"""

PROFILE = "tag:github.com,2026:pypenglai/report"
"""Value of `eat_profile`: whose claims these are, and how they are signed."""

MEDIA_TYPE = "application/eat+cwt"
RESULT_MEDIA_TYPE = "application/eat+jwt"

CWT_TAG = 61
SIGN1_TAG = 18

HEADER_ALGORITHM = 1
ALGORITHM = -70000
"""Private use: SM2 by a device through its monitor, over what the claims say."""

CLAIM_NONCE = 10
CLAIM_UEID = 256
CLAIM_DEBUG = 263
CLAIM_PROFILE = 265
CLAIM_DEVICE_KEY = -70001
CLAIM_MONITOR_HASH = -70002
CLAIM_REPORT_HASH = -70003

DEBUG_ENABLED = 0
"""Value of `dbgstat`; of a monitor that does not say so nothing is claimed."""

UEID_RANDOM = 1
"""Begins a `ueid` that is a hash of what nobody else has."""

SIGNATURES_BYTES = 192
"""The device's signature, the monitor's public key, the monitor's signature: 64 bytes each."""

MOST_BYTES = 1024
"""More than any such token has; nothing longer is read."""
