"""The digest of a death certificate: what a warrant names, and what the agent holds against it before it clears MMP.

Here: canonical JSON and its SHA-256. Not here: what a certificate allows (`permission`), how it comes about (`confirm`).
"""

from __future__ import annotations

import hashlib
import json

from ostkeeper.api.failover import Certificate


def certificate_digest(certificate: Certificate) -> str:
    """SHA-256, in hexadecimal, of the certificate as canonical JSON without its own `digest`.

    Canonical: as on the wire, what is not set left out, keys sorted, no blanks, ASCII. Both machines read the certificate
    through the same model, so what another release adds to it is part of neither digest.
    """
    body = {key: value for key, value in certificate.wire().items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
