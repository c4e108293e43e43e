"""The yardstick: the same work each time, and nothing left behind."""

from contextlib import closing
from pathlib import Path

import pytest

from npc_engine.bench.soak.reference_work import ReferenceWork
from npc_engine.llama.model import Model

pytestmark = pytest.mark.model


def test_it_takes_time_and_leaves_nothing(tiny_model: Path) -> None:
    with closing(Model(tiny_model)) as model, closing(ReferenceWork(model)) as yardstick:
        assert all(yardstick.measure() > 0 for _ in range(3))
        assert yardstick._llama.positions(0) == (-1, -1)
