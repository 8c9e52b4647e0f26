"""Which identities are one, which identify nothing, which addresses are one."""

import pytest

from core.pairs import arm, at_rest
from core.story import happen
from ostkeeper.core.addresses import normalised
from ostkeeper.core.armed import fingerprint, wiring_trusted
from ostkeeper.core.identity import key, matches, usable

pytestmark = pytest.mark.scenario
UUID = "4c4c4544-0042-3510-8052-b4c04f4d3232"
SMBIOS = "44454c4c-4200-1035-8052-b4c04f4d3232"


@pytest.mark.parametrize("spelling", [UUID, UUID.upper(), UUID.replace("-", ""), SMBIOS])
def test_guid_is_one_identity_in_every_spelling(spelling: str) -> None:
    assert key(f"guid:{spelling}") == key(UUID)
    assert matches(f"guid:{UUID}", f"guid:{spelling}")
    assert usable(f"guid:{spelling}")


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "guid:",
        "guid:00000000-0000-0000-0000-000000000000",
        "guid:FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "guid:03000200-0400-0500-0006-000700080009",
        "guid:00020003-0004-0005-0006-000700080009",
        "guid:09000800070006000005000400020003",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
        "Not Settable",
        "serial:N/A",
        "serial:0000000",
        "serial:To be filled by O.E.M.",
        "engine:80001f8801c0000209",
        "engine:80001f880220010db8000000000000000000000001",
    ],
)
def test_placeholder_identifies_nothing(identity: str) -> None:
    assert not usable(identity)


@pytest.mark.parametrize("identity", ["serial:ZA1234567890", "engine:80001f8880e3a1b2c3", "serial:board-oss1"])
def test_own_number_identifies(identity: str) -> None:
    assert usable(identity)
    assert not matches(identity, "")
    assert not matches(identity, identity + "0")


ONE = {
    "[2001:db8::1]:161": ["2001:db8::1:161", "2001:DB8:0:0:0:0:0:1:161", "[2001:db8::1]:161:161"],
    "192.0.2.9:161": ["::ffff:192.0.2.9:161", "::FFFF:C000:209:161", "192.0.2.9:161:161"],
    "pdu.example:161": ["PDU.Example.:161", "pdu.example:161"],
}


@pytest.mark.parametrize(("one", "spelling"), [(one, other) for one, others in ONE.items() for other in others])
def test_address_is_one_in_every_spelling(one: str, spelling: str) -> None:
    assert normalised(spelling) == one
    assert normalised(normalised(spelling)) == one


@pytest.mark.parametrize("other", ["192.0.2.9:623", "192.0.2.90:161", "pdu:161"])
def test_another_address_is_another_one(other: str) -> None:
    assert normalised(other) not in ONE


@pytest.mark.parametrize(
    ("event", "name", "words"),
    [
        ("left was replaced by another unit", "left", "no fencing level of oss1 was drilled"),
        ("bmc-oss1 leads to oss2's board", "bmc-oss1", "belongs to board board-oss2"),
        ("left reports no identity", "left", "has not told its identity"),
        ("bmc-oss1 reports no identity", "bmc-oss1", "has not told its system UUID"),
    ],
)
def test_pair_is_not_armed_while_a_device_is_not_the_declared_one(event: str, name: str, words: str) -> None:
    levels = ("pdus",) if name == "left" else ("bmc",)
    world = at_rest(levels=levels)
    assert arm(world) == ""
    happen(world, event)
    happen(world, f"the prober identifies {name}")
    world.run(2.0)
    assert words in arm(world)


def test_replaced_pdu_voids_the_drill_and_the_clearing_of_mmp() -> None:
    world = at_rest(levels=("pdus",))
    assert world.operator is not None
    view = world.operator.machine.view
    level = world.pair.fencing_of("oss1")[0]
    before = fingerprint(view, "oss1", level)
    assert wiring_trusted(view, "oss1")
    happen(world, "left was replaced by another unit")
    happen(world, "the prober identifies left")
    world.run(2.0)
    assert fingerprint(view, "oss1", level) != before
    assert not wiring_trusted(view, "oss1")


@pytest.mark.parametrize(
    ("uuid", "words"),
    [("03000200-0400-0500-0006-000700080009", "which is a placeholder"), (UUID, "it identifies neither")],
)
def test_boards_that_nothing_tells_apart_are_never_armed(uuid: str, words: str) -> None:
    world = at_rest(levels=("bmc",), board=uuid)
    happen(world, "the prober identifies bmc-oss1")
    world.run(2.0)
    assert words in arm(world)
