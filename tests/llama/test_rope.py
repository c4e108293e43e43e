"""What a GGUF says of its positions, and what settings make of it."""

import pytest

from npc_engine.errors import ConfigError
from npc_engine.llama.rope import RopeFacts, resolve

PLAIN = RopeFacts(type=2, scaling="", factor=1.0, n_ctx_train=8192, n_ctx_orig=8192)
YARN = RopeFacts(type=2, scaling="yarn", factor=4.0, n_ctx_train=131072, n_ctx_orig=32768)
LONG = RopeFacts(type=2, scaling="longrope", factor=32.0, n_ctx_train=131072, n_ctx_orig=4096)
PHI = RopeFacts(2, "", factor=1.0, n_ctx_train=131072, n_ctx_orig=4096, attn_factor=1.19)
MROPE = RopeFacts(type=8, scaling="", factor=1.0, n_ctx_train=32768, n_ctx_orig=32768)
NONE = RopeFacts(type=-1, scaling="", factor=1.0, n_ctx_train=2048, n_ctx_orig=2048)


@pytest.mark.parametrize(
    ("facts", "n_pos", "scaling", "moves"),
    [
        (PLAIN, 8192, "none", True),
        (YARN, 131072, "yarn", False),
        (LONG, 131072, "longrope", False),
        (PHI, 131072, "none", False),
        (MROPE, 32768, "none", False),
        (NONE, 2048, "none", False),
    ],
)
def test_auto_is_what_the_file_says(
    facts: RopeFacts, n_pos: int, scaling: str, moves: bool
) -> None:
    rope = resolve(facts, "auto", None, 2048)
    assert (rope.scaling, rope.n_pos, rope.rotates_only) == (scaling, n_pos, moves)
    assert rope.is_own


@pytest.mark.parametrize(
    ("scaling", "freq_scale", "window", "expected"),
    [
        ("linear", 0.5, 2048, (0.5, 16384)),
        ("linear", None, 16384, (0.5, 16384)),
        ("linear", None, 2048, (1.0, 8192)),
        ("auto", 0.25, 2048, (0.25, 32768)),
        ("yarn", 0.125, 2048, (0.125, 65536)),
    ],
)
def test_a_scaling_that_is_asked_for(
    scaling: str, freq_scale: float | None, window: int, expected: tuple[float, int]
) -> None:
    rope = resolve(PLAIN, scaling, freq_scale, window)
    assert (rope.freq_scale, rope.n_pos) == expected
    assert not rope.is_own
    assert rope.rotates_only == (scaling != "yarn")


@pytest.mark.parametrize(("scaling", "freq_scale"), [("none", None), ("none", 1.0), ("auto", 1.0)])
def test_what_is_so_anyway_is_no_change(scaling: str, freq_scale: float | None) -> None:
    """Saves of the one are saves of the other."""
    assert resolve(PLAIN, scaling, freq_scale, 2048) == resolve(PLAIN, "auto", None, 2048)


def test_a_scaled_model_can_be_had_without_its_scaling() -> None:
    rope = resolve(YARN, "none", None, 2048)
    assert (rope.n_pos, rope.rotates_only) == (32768, True)
    assert resolve(YARN, "auto", 0.5, 2048).scaling == "yarn"


@pytest.mark.parametrize(
    ("facts", "scaling", "freq_scale"),
    [(NONE, "linear", 0.5), (NONE, "yarn", None), (PLAIN, "none", 0.5)],
)
def test_what_a_model_cannot_do(facts: RopeFacts, scaling: str, freq_scale: float | None) -> None:
    with pytest.raises(ConfigError):
        resolve(facts, scaling, freq_scale, 2048)


def test_as_text() -> None:
    assert str(resolve(PLAIN, "auto", None, 1)) == "RoPE without scaling, 8,192 positions"
    assert str(resolve(PLAIN, "linear", 0.5, 1)) == "RoPE scaling linear x 2, 16,384 positions"
