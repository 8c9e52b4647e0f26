"""Which FenceDevice gets which driver, and what is said of one that gets none."""

from typing import Any

import pytest

from fencing.bench import MonotonicClock
from ostkeeper.api.fencedevice import FenceDeviceSpec
from ostkeeper.fencing.ipmi import IpmiDevice
from ostkeeper.fencing.registry import NoDriver, SecretEndsInNewline, credentials_secret, open_device
from ostkeeper.fencing.snmp_pdu import SnmpPduDevice
from ostkeeper.ports import FenceError, WrongCredentials

pytestmark = pytest.mark.scenario
IPMI = {"ipmi": {"address": "192.0.2.11", "credentialsSecretName": "bmc"}}
PDU = {"snmpPDU": {"address": "192.0.2.12", "credentialsSecretName": "pdu"}}
PDU_V2C = {"snmpPDU": {"address": "192.0.2.12", "version": "v2c", "credentialsSecretName": "pdu"}}
REDFISH = {"redfish": {"address": "192.0.2.13", "credentialsSecretName": "bmc"}}
AGENT = {"fenceAgent": {"agent": "fence_apc_snmp", "credentialsSecretName": "x"}}
V3 = {"username": b"u", "authPassword": b"long enough", "privPassword": b"long enough"}


def _spec(raw: dict[str, Any]) -> FenceDeviceSpec:
    return FenceDeviceSpec.model_validate(raw)


@pytest.mark.parametrize(
    ("raw", "secret", "driver"),
    [
        (IPMI, {"username": b"u", "password": b"p"}, IpmiDevice),
        (PDU, V3, SnmpPduDevice),
        (PDU_V2C, {"community": b"c"}, SnmpPduDevice),
    ],
)
def test_driver_is_chosen_by_the_member(raw: dict[str, Any], secret: dict[str, bytes], driver: type) -> None:
    assert isinstance(open_device(_spec(raw), secret, MonotonicClock()), driver)


@pytest.mark.parametrize(("raw", "what"), [(REDFISH, "redfish"), (AGENT, "fenceAgent"), ({}, "an empty spec")])
def test_member_without_a_driver_is_refused_with_a_reason(raw: dict[str, Any], what: str) -> None:
    with pytest.raises(NoDriver, match=f"dev: .*no driver for {what}") as caught:
        open_device(_spec(raw), {"username": b"u", "password": b"p"}, MonotonicClock(), "dev")
    assert isinstance(caught.value, FenceError)
    assert caught.value.reason == "NoDriver"


@pytest.mark.parametrize(
    ("raw", "secret", "what"),
    [
        (IPMI, {"username": b"u"}, "Secret bmc: there is no key password"),
        (IPMI, {"username": b"u", "password": b""}, "Secret bmc: there is no key password"),
        (PDU_V2C, V3, "Secret pdu: there is no key community"),
        (PDU, V3 | {"authPassword": b"hunter2"}, "authPassword has less than 8 bytes"),
    ],
)
def test_incomplete_secret_is_refused_by_key_and_not_shown(
    raw: dict[str, Any], secret: dict[str, bytes], what: str
) -> None:
    with pytest.raises(WrongCredentials, match=what) as caught:
        open_device(_spec(raw), secret, MonotonicClock(), "dev")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "secret", "key"),
    [
        (IPMI, {"username": b"u", "password": b"hunter2\n"}, "password"),
        (IPMI, {"username": b"u\r\n", "password": b"hunter2"}, "username"),
        (PDU_V2C, {"community": b"hunter2\n"}, "community"),
        (PDU, V3 | {"privPassword": b"hunter2 hunter2\n"}, "privPassword"),
    ],
)
def test_value_that_ends_in_a_newline_is_named_and_not_stripped(
    raw: dict[str, Any], secret: dict[str, bytes], key: str
) -> None:
    with pytest.raises(SecretEndsInNewline, match=f"key {key} ends in a newline.*--from-literal={key}=") as caught:
        open_device(_spec(raw), secret, MonotonicClock(), "dev")
    assert "hunter2" not in str(caught.value)


def test_secret_of_every_member_is_known() -> None:
    assert [credentials_secret(_spec(raw)) for raw in (IPMI, PDU, REDFISH, AGENT, {})] == ["bmc", "pdu", "bmc", "x", ""]
