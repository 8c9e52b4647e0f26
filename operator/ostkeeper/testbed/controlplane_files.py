"""What the control plane reads at start and hands to its clients: certificates, tokens, kubeconfigs.

Here: files, drawn afresh for each control plane, readable by the owner only. Not here: processes. Secrets never leave
the control plane's directory, and none of them is worth anything once it has stopped.
"""

import base64
import csv
import ipaddress
import json
import secrets
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ostkeeper.testbed.identities import Identity

_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
"""P-256: milliseconds, where RSA takes up to a second of a core."""


def write_certificates(directory: Path, names: Iterable[str]) -> None:
    """Write ca.crt, tls.crt, tls.key and the service accounts' key sa.key, unless they are there already.

    `names` are the host names and addresses that clients will use. Raises subprocess.CalledProcessError, with openssl's
    own words in `stderr`.
    """
    if (directory / "sa.key").exists():
        return
    unique = list(dict.fromkeys(names))
    alternatives = ",".join(("IP:" if _is_address(name) else "DNS:") + name for name in unique)
    authority = ("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ostkeeper-testbed")
    serving = (
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-keyout",
        "tls.key",
        "-out",
        "tls.crt",
        "-subj",
        "/CN=kube-apiserver",
    )
    extensions = ("-addext", f"subjectAltName={alternatives}", "-addext", "basicConstraints=critical,CA:FALSE")
    _openssl(directory, "req", "-x509", *_KEY, "-days", _DAYS, *authority)
    _openssl(directory, "req", "-x509", *_KEY, "-days", _DAYS, *serving, *extensions)
    _openssl(directory, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "sa.key")


def write_tokens(path: Path, identities: Iterable[Identity]) -> dict[str, str]:
    """Write the --token-auth-file and return the token of each user. Tokens that stand there already are kept."""
    tokens: dict[str, str] = {}
    if path.exists():
        with path.open(newline="") as known:
            tokens = {row[1]: row[0] for row in csv.reader(known)}
    wanted = {identity.user: identity for identity in identities}
    tokens = {user: tokens.get(user) or secrets.token_hex(16) for user in wanted}
    path.touch(mode=0o600)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([tokens[user], user, user, ",".join(identity.groups)] for user, identity in wanted.items())
    return tokens


def write_kubeconfig(path: Path, url: str, ca: bytes, user: str, token: str) -> Path:
    """Write a kubeconfig that needs no other file (JSON, which is YAML too), so that it can be bind-mounted anywhere."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "testbed", "cluster": {"server": url, "certificate-authority-data": base64.b64encode(ca).decode()}}
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
        "current-context": "testbed",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def _openssl(directory: Path, *words: str) -> None:
    subprocess.run(
        ["openssl", *words], cwd=directory, check=True, stdin=subprocess.DEVNULL, capture_output=True, umask=0o077
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
