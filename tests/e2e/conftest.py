"""The limit of one whole test here lies above its deadlines, so that one that is too slow says what it waited for."""

from pathlib import Path

import pytest

LIMIT_SECONDS = 900
"""Two minutes is what the longest takes on an idle machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))
