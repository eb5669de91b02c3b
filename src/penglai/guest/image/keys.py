"""Keys of the cache: what was built from the same inputs has the same key."""

import hashlib

KEY_DIGITS = 16


def key_of(*parts: str | bytes) -> str:
    """A name for these inputs.  No two different sequences of parts have the same."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()[:KEY_DIGITS]
