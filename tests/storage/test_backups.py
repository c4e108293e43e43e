"""What is a backup by its name, and whose. How they move up is tested with the store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.storage.backups import MAX_KEPT, backup_name, is_backup, original_of
from npc_engine.storage.disk import NAME


@pytest.mark.parametrize(
    ("name", "origin", "reserved"),
    [
        ("a.bak", ("a", 1), True),
        ("a.bak2", ("a", 2), True),
        ("a.bak99", ("a", 99), True),
        ("a.bak.bak", ("a.bak", 1), True),
        ("a.bak0", None, True),
        ("a.bak1", None, True),
        ("a.bak02", None, True),
        ("a.bak100", None, True),
        ("a", None, False),
        ("bak", None, False),
        ("a.BAK", None, False),
        ("a.bakery", None, False),
    ],
)
def test_names(name: str, origin: tuple[str, int] | None, reserved: bool) -> None:
    assert original_of(name) == origin
    assert is_backup(name) == reserved


@given(st.from_regex(NAME, fullmatch=True), st.integers(1, MAX_KEPT))
def test_a_name_goes_both_ways(slot: str, number: int) -> None:
    name = backup_name(slot, number)
    if name is None:
        assert len(slot) > 64 - len(".bak99")
    else:
        assert original_of(name) == (slot, number) and is_backup(name)
