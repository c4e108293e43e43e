"""Names of quantizations, and the rules for which suits a CPU build."""

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.cli.doctor.quantization import advise, name_of


def test_names_are_those_of_gguf() -> None:
    for file_type in gguf.LlamaFileType:
        word = file_type.name.removeprefix("ALL_").removeprefix("MOSTLY_").removesuffix("_MOE")
        if name_of(str(file_type.value)) != word:
            assert name_of(str(file_type.value)).startswith("file type")
    assert [name_of(t) for t in ("2", "3", "7", "15", "19", "30", "32")] == [
        *("Q4_0", "Q4_1", "Q8_0", "Q4_K_M", "IQ2_XXS", "IQ4_XS", "BF16")
    ]


@given(st.text())
def test_any_text_has_a_name(text: str) -> None:
    assert name_of(text)


@pytest.mark.parametrize("text", ["", "-1", "many", "\u00b2", "4294967296000", "35"])
def test_what_is_no_file_type(text: str) -> None:
    assert name_of(text) == "unknown" or name_of(text).startswith("file type ")


@pytest.mark.parametrize(
    ("quantization", "amx", "suits"),
    [
        ("Q4_1", True, True),
        ("Q4_1", False, False),
        ("Q4_0", True, True),
        ("Q4_0", False, True),
        ("Q8_0", True, True),
        ("Q8_0", False, False),
        ("Q4_K_M", True, False),
        ("Q4_K_M", False, True),
        ("IQ2_XXS", False, False),
        ("F16", True, False),
        ("unknown", False, True),
        ("file type 99", True, True),
    ],
)
def test_the_rules(quantization: str, amx: bool, suits: bool) -> None:
    advice = advise(quantization, amx=amx, repack=True)
    assert advice.suits is suits
    assert bool(advice.faster) is not suits
    assert all(advise(name, amx=amx, repack=True).suits for name in advice.faster)
    assert advice.reason.endswith(".")


def test_a_build_that_cannot_rearrange_makes_no_difference() -> None:
    assert advise("IQ2_XXS", amx=False, repack=False).suits
