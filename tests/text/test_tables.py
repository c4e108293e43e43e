"""Tables that line up."""

import pytest

from npc_engine.text.tables import counted, size, table


def test_a_table_lines_up() -> None:
    rows = table([["name", "n"], ["a", "1"], ["longer", "1,000"]]).splitlines()
    assert rows[0] == "name        n"
    assert rows[2:] == ["a           1", "longer  1,000"]


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
