"""How the API server is reached: a kubeconfig, explicit flags, or a pod's service account. Here: reading those, the TLS context.

Not here: any request (`api`), exec plugins and auth providers (an agent must not depend on another program to keep its
heartbeat; use a client certificate or a token file).
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """The agent cannot start as it was told. The text is one line: what, where, why, what next."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how this server proves who it is."""

    server: str
    """https://HOST:PORT"""
    tls: ssl.SSLContext | None
    """None for plain http, which only a test uses."""
    token: str = ""
    token_file: Path | None = None
    """Read again every minute: tokens of pods are rotated."""


def from_flags(server: str, token_file: Path | None, ca: Path | None) -> Access:
    """From --server, --token-file and --ca. Raises `ConfigError`."""
    if token_file is None:
        raise ConfigError("--server needs --token-file: the file with the bearer token of this server's agent")
    _read(token_file, "--token-file")
    return Access(server.rstrip("/"), _tls(server, _read(ca, "--ca") if ca else None), token_file=token_file)


def from_pod() -> Access | None:
    """From the pod's service account, as the DaemonSet runs; None outside of a pod. Raises `ConfigError`."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return from_flags(server, SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt")


def from_kubeconfig(path: Path) -> Access:
    """From the current context of a kubeconfig (YAML or JSON). Raises `ConfigError`."""
    config = _parse(_read(path, "--kubeconfig"), path)
    try:
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        server = str(cluster["server"]).rstrip("/")
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no usable current-context: {error} is missing; see kubectl config view") from None
    if "exec" in user or "auth-provider" in user:
        raise ConfigError(f"{path}: exec plugins are not run by the agent; use a client certificate or a token file")
    tls = _tls(server, _material(cluster, "certificate-authority", path))
    certificate, key = _material(user, "client-certificate", path), _material(user, "client-key", path)
    if certificate and key and tls:
        _load_pair(tls, certificate, key, path)
    token_file = Path(user["tokenFile"]) if user.get("tokenFile") else None
    return Access(server, tls, str(user.get("token", "")), token_file)


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        import yaml  # only here: JSON is read without it

        try:
            parsed = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: neither YAML nor JSON: {' '.join(str(error).split())}") from None
    if not isinstance(parsed, dict):
        raise ConfigError(f"{path}: not a kubeconfig")
    return parsed


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    for entry in config.get(kind) or ():
        if entry.get("name") == name:
            return dict(entry)
    raise KeyError(f"{kind}: {name}")


def _material(holder: dict[str, Any], name: str, path: Path) -> bytes | None:
    if holder.get(f"{name}-data"):
        return base64.b64decode(holder[f"{name}-data"])
    return _read(path.parent / holder[name], name) if holder.get(name) else None


def _tls(server: str, ca: bytes | None) -> ssl.SSLContext | None:
    if server.startswith("http://"):
        return None
    try:
        return ssl.create_default_context(cadata=ca.decode("ascii") if ca else None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"certificate authority of {server}: not a PEM certificate: {error}") from None


def _load_pair(tls: ssl.SSLContext, certificate: bytes, key: bytes, path: Path) -> None:
    """Python's ssl takes a certificate and its key from a file only."""
    with tempfile.NamedTemporaryFile(dir="/run" if os.access("/run", os.W_OK) else None) as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        try:
            tls.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ConfigError(f"{path}: client certificate and key cannot be used: {error}") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from None
