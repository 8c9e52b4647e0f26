"""From a FenceDevice's spec and its Secret to the driver that can use it.

Here: which member of the union has which driver, and which keys its Secret must have. Not here: reading either of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ostkeeper.api.fencedevice import IPMI, SNMPPDU, FenceDeviceSpec
from ostkeeper.fencing.ipmi import IpmiDevice
from ostkeeper.fencing.pdu_families import family
from ostkeeper.fencing.snmp_client import Credentials
from ostkeeper.fencing.snmp_pdu import SnmpPduDevice
from ostkeeper.ports import Clock, FenceError, PowerDevice, WrongCredentials

SHORTEST_V3_PASSWORD = 8
"""RFC 3414, 11.2."""


class NoDriver(FenceError):
    """This release cannot use such a device. Nothing was sent."""

    reason = "NoDriver"


class SecretEndsInNewline(FenceError):
    """A value in the Secret ends in a newline, which the device would take for a part of it. Nothing was sent."""

    reason = "SecretEndsInNewline"


def credentials_secret(spec: FenceDeviceSpec) -> str:
    """Name the Secret that `open_device` needs; empty where there is none."""
    member = spec.ipmi or spec.snmp_pdu or spec.redfish or spec.fence_agent
    return member.credentials_secret_name if member else ""


def open_device(spec: FenceDeviceSpec, secret: Mapping[str, bytes], clock: Clock, name: str = "") -> PowerDevice:
    """Make the driver; sends nothing yet. `secret`: the decoded data. `name`: of the FenceDevice, for messages.

    Raises NoDriver, NoSuchFamily, WrongCredentials for a Secret that lacks a key, SecretEndsInNewline. Call `close` when
    done with it.
    """
    if spec.ipmi is not None:
        return _ipmi(spec.ipmi, secret, clock, name)
    if spec.snmp_pdu is not None:
        return _snmp_pdu(spec.snmp_pdu, secret, clock, name)
    kind = "redfish" if spec.redfish else "fenceAgent" if spec.fence_agent else "an empty spec"
    raise NoDriver(f"{name or 'FenceDevice'}: this release has no driver for {kind}. Use ipmi or snmpPDU")


def _ipmi(spec: IPMI, secret: Mapping[str, bytes], clock: Clock, name: str) -> PowerDevice:
    keys = _Keys(name, spec.credentials_secret_name, secret)
    return IpmiDevice(spec.address, spec.port, keys.get("username"), keys.get("password"), clock, name)


def _snmp_pdu(spec: SNMPPDU, secret: Mapping[str, bytes], clock: Clock, name: str) -> PowerDevice:
    keys = _Keys(name, spec.credentials_secret_name, secret)
    if spec.version == "v2c":
        credentials = Credentials("v2c", community=keys.get("community"))
    else:
        credentials = Credentials(
            "v3",
            username=keys.get("username"),
            auth_password=keys.get("authPassword", SHORTEST_V3_PASSWORD),
            priv_password=keys.get("privPassword", SHORTEST_V3_PASSWORD),
        )
    return SnmpPduDevice(family(spec.family), spec.address, spec.port, credentials, clock, name)


class _Keys:
    """A Secret's data, and what to call it in a message, which never holds a value."""

    def __init__(self, device: str, name: str, data: Mapping[str, bytes]) -> None:
        self._name = name
        self._what = f"{device or 'FenceDevice'}: Secret {name}"
        self._data = data

    def get(self, key: str, shortest: int = 1) -> bytes:
        """Give one key's value, as it is. Raises WrongCredentials: missing or too short; SecretEndsInNewline."""
        value = self._data.get(key, b"")
        if value.endswith((b"\n", b"\r")):
            raise SecretEndsInNewline(
                f"{self._what}: the value of key {key} ends in a newline, which would be sent as a part of it. Create the "
                f"Secret without one: kubectl create secret generic {self._name} --from-literal={key}=VALUE, or "
                "printf %s VALUE instead of echo; nothing was sent"
            )
        if len(value) < shortest:
            wrong = f"{key} has less than {shortest} bytes" if value else f"there is no key {key}, or it is empty"
            raise WrongCredentials(f"{self._what}: {wrong}. Add it; nothing was sent")
        return value
