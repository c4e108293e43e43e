"""The error tree is as its docstring draws it, and every code stands for one class."""

import re

import pytest

from npc_engine import errors
from npc_engine.errors import Internal, NpcError, RequestError, error_for_code

WIRE_CODES = {
    "bad_card",
    "bad_message",
    "bad_snapshot",
    "busy",
    "internal",
    "npc_exists",
    "protocol_version",
    "too_large",
    "unauthorized",
    "unknown_npc",
    "unknown_slot",
    "unknown_target",
}


def drawn() -> dict[str, str]:
    """Class to base, as the docstring's tree has them."""
    parents: list[str] = []
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([\u2502\u251c\u2514\u2500 ]*)([A-Z]\w+)\b(?!\.)", line)
        if match is None or not (match[1] or match[2] == "NpcError"):
            continue
        depth = len(match[1]) // 4
        parents[depth:] = [match[2]]
        if depth:
            tree[match[2]] = parents[depth - 1]
    return tree


def real(cls: type[NpcError] = NpcError) -> dict[str, str]:
    found: dict[str, str] = {}
    for sub in cls.__subclasses__():
        if sub.__module__ == "npc_engine.errors":
            found |= {sub.__name__: cls.__name__, **real(sub)}
    return found


def test_the_docstring_draws_the_tree() -> None:
    assert drawn() == real()
    assert set(real()) | {"NpcError", "error_for_code"} == set(errors.__all__)


def test_the_docstring_names_the_codes() -> None:
    for cls in RequestError.__subclasses__():
        assert re.search(rf"\b{cls.__name__} +{cls.code}\b", errors.__doc__ or "")


def test_the_codes_of_the_wire_are_a_closed_list() -> None:
    classes = RequestError.__subclasses__()
    assert {cls.code for cls in classes} == WIRE_CODES
    assert len(classes) == len(WIRE_CODES), "two classes share a code"


@pytest.mark.parametrize("code", sorted(WIRE_CODES))
def test_a_wire_error_becomes_the_same_error_again(code: str) -> None:
    error = error_for_code(code, "It is 'x'.", "Do this.")
    assert (error.code, error.message, error.help) == (code, "It is 'x'.", "Do this.")
    assert str(error) == "It is 'x'. Do this."


def test_a_code_of_a_later_version_is_still_an_error() -> None:
    error = error_for_code("of_tomorrow", "No.")
    assert isinstance(error, Internal)
    assert str(error) == "No."
