"""Small models of many kinds, written where they are needed."""

from pathlib import Path

import pytest

from tests.support.small_models import Make, maker


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a small model of the given vocabulary; returns its path."""
    return maker(tmp_path)
