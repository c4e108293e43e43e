"""The lines: the same talk each time, and no two lines alike in a row."""

from itertools import pairwise
from statistics import mean

from npc_engine.cards.small_talk import lines


def test_the_same_talk_each_time() -> None:
    assert lines(200) == lines(200)
    assert lines(200)[:50] == lines(50)


def test_lines_are_ordinary_and_differ() -> None:
    said = lines(200)
    assert len(set(said)) > 190
    assert all(a != b for a, b in pairwise(said))
    n_words = [len(line.split()) for line in said]
    assert 5 <= min(n_words) <= 10
    assert 20 <= max(n_words) <= 45


def test_early_lines_are_as_long_as_late_ones() -> None:
    n_words = [len(line.split()) for line in lines(210)]
    usual = mean(n_words)
    for first in range(0, 210, 30):
        assert abs(mean(n_words[first : first + 30]) - usual) < 0.1 * usual
