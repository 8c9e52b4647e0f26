"""One spelling for all spellings of a fence device's address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address


@lru_cache(maxsize=4096)
def normalised(address: str) -> str:
    """One spelling of `host:port`: lower case, no trailing dot, IPv6 compressed, IPv4-mapped IPv6 as IPv4.

    The port is what follows the last colon. A second port inside the host part is dropped.
    """
    plain = address.strip().lower()
    host, port = plain, ""
    before, colon, after = plain.rpartition(":")
    if colon and after.isdecimal() and (_ip(before) or not _ip(plain)):
        host, port = before, after
    inner, colon, after = host.rpartition(":")
    if colon and after.isdecimal() and not _ip(host) and (":" not in inner or inner.startswith("[")):
        host = inner
    host = _ip(host) or host.rstrip(".")
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def _ip(host: str) -> str:
    """The IP address in one spelling; empty: it is none."""
    try:
        ip = ip_address(host.strip("[]").rstrip("."))
    except ValueError:
        return ""
    return str(getattr(ip, "ipv4_mapped", None) or ip)
