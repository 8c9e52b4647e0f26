"""A server of an Automatic pair loses its power: it is fenced, proven dead, and its partner serves what it left."""

import pytest

from e2e.world import e2e_world

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("sector_size", [512, 4096])
async def test_partner_serves_all_within_seconds_after_a_power_cut(sector_size: int) -> None:
    async with e2e_world(sectors=(sector_size,)) as w:
        await w.ready()
        await w.verbs.power_cut("oss1")
        fo = await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
        assert fo.status is not None
        assert fo.status.answered_by == "policy"
        assert fo.status.certificate is not None
        assert fo.status.certificate.clear_mmp
        report = (await w.oss("oss2")).status
        assert report is not None
        cleared = {t.target for t in report.targets if t.cleared_mmp}
        assert cleared == set(fo.spec.targets), "MMP is cleared under the certificate, so that no mount waits for it"
