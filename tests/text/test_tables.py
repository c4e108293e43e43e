"""Tables that line up."""

from npc_engine.text.tables import table


def test_a_table_lines_up() -> None:
    rows = table([["name", "n"], ["a", "1"], ["longer", "1,000"]]).splitlines()
    assert rows[0] == "name        n"
    assert rows[2:] == ["a           1", "longer  1,000"]
