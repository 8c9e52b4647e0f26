"""Digests that bind one object to the exact contents of another: what a warrant names, what an answer rests on.

Here: canonical JSON and its SHA-256. Not here: what a certificate allows (`permission`), how it comes about (`fencing`).
"""

from __future__ import annotations

import hashlib
import json

from ostkeeper.api.failover import Certificate


def digest(value: object) -> str:
    """SHA-256, 64 hexadecimal digits, of a value of JSON's types: keys sorted, no blanks, ASCII."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


def certificate_digest(certificate: Certificate) -> str:
    """The digest of the certificate as on the wire, without its own `digest` and without what is not set.

    Both machines read the certificate through the same model, so what another release adds to it is part of neither digest.
    The agent holds it against the warrant before it clears MMP.
    """
    return digest({key: value for key, value in certificate.wire().items() if key != "digest"})
