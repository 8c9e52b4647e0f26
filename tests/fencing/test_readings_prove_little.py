"""What an outlet's values prove, and by what a PDU's reboot shows: tables, without a device."""

import pytest

from ostkeeper.core.power import PowerState
from ostkeeper.fencing.pdu_families import FAMILIES, NoSuchFamily, family
from ostkeeper.fencing.snmp_pdu import BootSign

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize(
    ("status", "pending", "expected"),
    [
        (1, 2, PowerState.OFF),
        (2, 2, PowerState.ON),
        (1, 1, PowerState.UNKNOWN),  # a command is pending
        (1, 3, PowerState.UNKNOWN),  # not known whether one is
        (1, None, PowerState.UNKNOWN),  # no such object
        (None, 2, PowerState.UNKNOWN),
        (0, 2, PowerState.UNKNOWN),
        (3, 2, PowerState.UNKNOWN),
        ("1", 2, PowerState.UNKNOWN),
        (True, 2, PowerState.UNKNOWN),
    ],
)
def test_only_the_exact_value_proves_off_or_on(status: object, pending: object, expected: PowerState) -> None:
    assert family("apc-rpdu2").judge(status, pending) is expected


def test_no_family_confuses_off_with_on() -> None:
    for row in FAMILIES.values():
        assert row.control_off != row.control_on
        assert row.status_off != row.status_on


def test_unknown_family_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(NoSuchFamily, match=r"'acme'.*apc-rpdu2"):
        family("acme")


@pytest.mark.parametrize("outlet", ["", "0", "x", "1.2", "-1", "01", " 1", "1\n", "99999"])
def test_name_that_no_outlet_has_gives_no_index(outlet: str) -> None:
    assert family("apc-rpdu2").index(outlet) is None


# (boots, sysUpTime in seconds, asked at, answered at)
Seen = tuple[int | None, float, float, float]
FIRST: Seen = (3, 1000.0, 5000.0, 5000.1)


@pytest.mark.parametrize(
    ("later", "same"),
    [
        pytest.param((3, 1010.0, 5010.0, 5010.1), True, id="ten seconds later"),
        pytest.param((3, 1010.0, 5008.2, 5011.7), True, id="a slow answer"),
        pytest.param((3, 87403.0, 91400.0, 91400.1), True, id="a day later, its clock 3 s fast"),
        pytest.param((4, 1010.0, 5010.0, 5010.1), False, id="boots counted"),
        pytest.param((None, 1010.0, 5010.0, 5010.1), False, id="boots not served any more"),
        pytest.param((3, 0.3, 5010.0, 5010.1), False, id="uptime went back"),
        pytest.param((3, 1001.0, 6100.0, 6100.1), False, id="uptime grew, but too little: rebooted long ago"),
        pytest.param((3, 1200.0, 5010.0, 5010.1), False, id="uptime grew too much"),
    ],
)
def test_boot_sign_stays_the_same_unless_the_device_rebooted(later: Seen, same: bool) -> None:
    sign = BootSign()
    first, second = (sign.see(boots, round(up * 100), asked, answered) for boots, up, asked, answered in (FIRST, later))
    assert first
    assert (first == second) is same


def test_boot_sign_without_boots_rests_on_the_uptime() -> None:
    sign = BootSign()
    first = sign.see(None, 100_000, 5000.0, 5000.1)
    assert first == sign.see(None, 100_100, 5001.0, 5001.1)
    assert first != sign.see(None, 50, 5002.0, 5002.1)


def test_device_that_tells_neither_has_no_sign() -> None:
    assert BootSign().see(None, None, 1.0, 2.0) == ""
