"""Strangers' texts cannot steer a terminal; counts and sizes read as people say them."""

import pytest

from npc_engine.text.wording import counted, on_one_row, plain, size


def test_texts_of_strangers_do_not_steer_the_terminal() -> None:
    assert plain("a\x1b[2J\rb\u202ec\x07") == "a\ufffd[2J\ufffdb\ufffdc\ufffd"
    assert plain("Jos\u00e9 \u96e8") == "Jos\u00e9 \u96e8"


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (4_200_000, "4.2 MB"),
        (8 << 30, "8.6 GB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes(n: int, text: str) -> None:
    assert size(n) == text


def test_counts() -> None:
    assert [counted(n, "turn") for n in (0, 1, 2)] == ["0 turns", "1 turn", "2 turns"]


def test_on_one_row() -> None:
    assert on_one_row(" Mara\n\tthe  \x1b[2Jsmith\u202e ") == "Mara the [2Jsmith"
