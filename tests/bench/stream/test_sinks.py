"""`npc-engine tune sinks`: what follows from likelihoods, and the way from flags to files."""

import json
from pathlib import Path

import pytest

from npc_engine.bench.stream.sinks import Row, advice, compare
from npc_engine.cli import commands as cli
from npc_engine.errors import CardError, ConfigError, ModelError, NpcError


def test_differences_are_paired_block_by_block() -> None:
    """Blocks differ much among themselves, and little between two numbers of sinks."""
    easy_and_hard = [2.0, 4.0, 3.0, 5.0]
    worse = [x + d for x, d in zip(easy_and_hard, (0.1, 0.1, 0.12, 0.08), strict=True)]
    few, whole = compare({1: worse, 300: easy_and_hard})
    assert (whole.n_sinks, whole.more, whole.noise) == (300, 0.0, 0.0)
    assert few.more == pytest.approx(0.105, abs=0.001)
    assert 0 < few.noise < 0.03
    assert few.is_clear


def rows(*more: float, noise: float = 0.004) -> list[Row]:
    """Rows of 0, 1, 4 sinks and of a persona of 200."""
    few = [Row(k, 20 * (1 + m), m, noise) for k, m in zip((0, 1, 4), more, strict=True)]
    return [*few, Row(200, 20.0, 0.0, 0.0)]


def test_it_says_how_many_are_enough() -> None:
    said = advice(rows(0.7, 0.05, 0.002))
    assert "70 % worse" in said
    assert "4 of them are enough" in said
    assert "Set nothing" in said
    assert "as good as any" in said
    assert "1 of them is enough" in advice(rows(0.7, 0.005, 0.002))


def test_it_says_what_a_long_persona_costs() -> None:
    said = advice(rows(0.4, -0.05, -0.06))
    assert "200 tokens cost 6 %" in said
    assert "larger --window" in said


def test_it_says_that_nothing_is_to_be_seen() -> None:
    said = advice(rows(0.01, -0.01, 0.02, noise=0.03))
    assert "no difference beyond noise" in said
    assert "enough" not in said


@pytest.fixture(scope="module")
def novel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "novel.txt"
    path.write_text("The ferry left at dawn, and nobody asked who had paid for it. " * 400)
    return path


def sinks(model: Path, text: Path, out: Path, *flags: str) -> int:
    files = ("--model", str(model), "--text", str(text), "--out", str(out))
    return cli.run("tune", ["sinks", *files, "--threads=1", *flags])


@pytest.mark.model
@pytest.mark.parametrize("kind", ["llama", "gemma3-swa"])
def test_from_flags_to_files(
    tiny_llama: Path, novel: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_llama.with_name(f"tiny-{kind}.gguf")
    assert sinks(model, novel, tmp_path, "--tokens=256", "--window=512") == 0
    report = json.loads((tmp_path / "sinks.json").read_text("utf-8"))
    *few, persona = report["rows"]
    assert [row["n_sinks"] for row in few] == [0, 1, 2, 4, 8, 16]
    assert persona["n_sinks"] > 100
    assert report["n_scored"] == 256
    assert report["character"] == "Mara"
    assert (tmp_path / "sinks.png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert f"persona, {persona['n_sinks']} tokens" in told
    assert report["advice"] in told


@pytest.mark.model
@pytest.mark.parametrize(
    ("flags", "error", "match"),
    [
        (("--tokens=100",), ConfigError, "--tokens"),
        (("--tokens=1000000",), NpcError, "has .* tokens"),
        (("--window=300",), ConfigError, "300"),
        (("--card=/no/such/card.toml",), CardError, "no such file"),
        (("--threads=0",), ConfigError, "--threads"),
    ],
)
def test_bad_flags_are_named(
    tiny_llama: Path,
    novel: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    error: type[NpcError],
    match: str,
) -> None:
    with pytest.raises(error, match=match):
        sinks(tiny_llama, novel, tmp_path, "--no-plot", *flags)


@pytest.mark.model
def test_a_recurrent_model_has_none(tiny_llama: Path, novel: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="recurrent"):
        sinks(tiny_llama.with_name("tiny-mamba.gguf"), novel, tmp_path, "--no-plot")
