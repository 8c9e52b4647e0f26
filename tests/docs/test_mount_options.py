"""README lists the mount options that the API server takes: all of them, and no other."""

import re

import pytest

from docs.readme import README
from ostkeeper.api import fieldrules

pytestmark = pytest.mark.scenario


def test_readme_lists_every_mount_option_that_is_accepted() -> None:
    section = README.read_text().split("### Mount options\n")[1].split("The API server and the agent")[0]
    listed = set(re.findall(r"`([^`]+)`", section)) - {"mountOptions"}
    assert listed == {*fieldrules.MOUNT_FLAGS, *(f"{name}=N" for name in fieldrules.MOUNT_NUMBERS)}
