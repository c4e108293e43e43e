"""The lines: the same talk each time, and no two lines alike in a row."""

from itertools import pairwise

from npc_engine.talk_script import lines


def test_the_same_talk_each_time() -> None:
    assert lines(200) == lines(200)
    assert lines(200)[:50] == lines(50)


def test_lines_are_ordinary_and_differ() -> None:
    said = lines(200)
    assert len(set(said)) > 190
    assert all(a != b for a, b in pairwise(said))
    n_words = [len(line.split()) for line in said]
    assert 5 <= min(n_words) <= 10
    assert 20 <= max(n_words) <= 40
