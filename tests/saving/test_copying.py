"""Which saves have a KV cache in them."""

import pytest

from npc_engine.saving.copying import MOST_READING_S, keeps_kv


@pytest.mark.parametrize("reading_s", [None, 0.0, 99.0])
def test_a_plain_wish_is_followed(reading_s: float | None) -> None:
    assert keeps_kv("yes", reading_s)
    assert not keeps_kv("no", reading_s)


@pytest.mark.parametrize(
    ("reading_s", "keeps"),
    [(None, True), (0.0, False), (MOST_READING_S - 0.001, False), (MOST_READING_S, True)],
)
def test_auto_goes_by_the_time_that_reading_takes(reading_s: float | None, keeps: bool) -> None:
    assert keeps_kv("auto", reading_s) is keeps
