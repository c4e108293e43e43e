"""`npc-engine bench stream` from its flags to its files, whole and in parts."""

import json
from pathlib import Path
from typing import Any

import pytest

from npc_engine.bench.stream import run as stream_run
from npc_engine.bench.stream.contexts import POLICIES
from npc_engine.bench.stream.reader import Reader
from npc_engine.cli import commands as cli
from npc_engine.errors import ConfigError, ModelError, NpcError, SetupError

pytestmark = pytest.mark.model
SMALL = ("--window", "128", "--chunk", "16", "--turn", "16", "--pinned", "16", "--threads", "1")


@pytest.fixture(scope="module")
def novel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "novel.txt"
    path.write_text("The ferry left at dawn, and nobody asked who had paid for it. " * 400)
    return path


def stream(model: Path, text: Path, out: Path, *flags: str) -> dict[str, Any]:
    """Run it and return its report."""
    files = ("--model", str(model), "--text", str(text), "--out", str(out))
    assert cli.run("bench", ["stream", *files, *SMALL, *flags]) == 0
    report = json.loads((out / "stream.json").read_text("utf-8"))
    assert isinstance(report, dict)
    return report


def test_every_policy_is_reported_and_plotted(
    tiny_llama: Path, novel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = stream(tiny_llama, novel, tmp_path, "--tokens", "1500", "--full-tokens", "1200")
    policies = {p["name"]: p for p in report["policies"]}
    assert list(policies) == list(POLICIES)
    assert {p["n_scored"] for n, p in policies.items() if n.startswith("sinks")} == {1500}
    assert policies["full"]["ended"]
    assert policies["full"]["n_read"] <= 1200
    assert policies["recompute"]["n_scored"] < 1500
    assert policies["ours"]["peak_cells"] <= 128
    assert policies["sinks-4"]["peak_cells"] == 128
    assert policies["sinks-4"]["peak_kv_bytes"] == 128 * report["kv_bytes_per_token"]
    assert all(p["perplexity"] > 1 and p["read_ms"] > 0 < p["token_ms"] for p in policies.values())
    table = capsys.readouterr().out
    assert "persona + holes (ours)" in table
    told = (tmp_path / "stream.md").read_text("utf-8")
    assert "| 4 sinks + window |" in told
    assert "(stream.png)" in told
    assert str(tmp_path) not in told + json.dumps(report)
    assert (tmp_path / "stream.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "stream.partial").exists()


def counts(report: dict[str, Any]) -> list[Any]:
    return [
        (p["name"], p["n_read"], p["perplexity"], p["blocks"]["nll"], p["blocks"]["peak_cells"])
        for p in report["policies"]
    ]


def test_an_interrupted_run_goes_on_to_the_same_result(
    tiny_llama: Path,
    novel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ("--policies=ours,sinks-4,full,recompute", "--full-tokens=1024", "--tokens=2200")
    whole = stream(tiny_llama, novel, tmp_path / "whole", *flags, "--no-plot")
    read = Reader.read

    def stop(self: Reader, text: list[int], last: int) -> None:
        if last > 2048 and self.n_single:
            raise KeyboardInterrupt
        read(self, text, last)

    monkeypatch.setattr(stream_run, "MIN_BETWEEN_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Reader, "read", stop)
        with pytest.raises(KeyboardInterrupt):
            stream(tiny_llama, novel, tmp_path / "parts", *flags, "--no-plot")
    assert "goes on from 2,048 tokens" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="other settings"):
        stream(tiny_llama, novel, tmp_path / "parts", *flags, "--no-plot", "--pinned=8")
    parts = stream(tiny_llama, novel, tmp_path / "parts", *flags, "--no-plot")
    assert "Going on from 2,048 tokens" in capsys.readouterr().err
    assert counts(parts) == counts(whole)
    assert not list((tmp_path / "parts").glob("*.p*"))


def test_a_foreign_state_is_never_used(tiny_llama: Path, novel: Path, tmp_path: Path) -> None:
    (tmp_path / "stream.partial").write_bytes(bytes(100))
    with pytest.raises(SetupError, match=r"stream\.partial"):
        stream(tiny_llama, novel, tmp_path, "--tokens=300", "--no-plot")


def test_a_sliding_window_model_runs_what_it_can(
    tiny_swa: Path, novel: Path, tmp_path: Path
) -> None:
    flags = ("--tokens=300", "--policies=sinks-4,ours", "--no-plot")
    sinks, ours = stream(tiny_swa, novel, tmp_path, *flags)["policies"]
    assert "cannot be moved" in sinks["skipped"]
    assert ours["n_scored"] == 300
    assert "not run: its cached keys" in (tmp_path / "stream.md").read_text("utf-8")


@pytest.fixture
def tiny_swa(tiny_llama: Path) -> Path:
    return tiny_llama.with_name("tiny-gemma3-swa.gguf")


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (("--policies=sinks-x",), "sinks-x"),
        (("--policies=,",), "--policies"),
        (("--window=40",), "40"),
        (("--window=1000000",), "1000000"),
        (("--tokens=0",), "--tokens"),
        (("--tokens=1000000",), "has .* tokens"),
        (("--threads=0",), "--threads"),
        (("--full-tokens=5",), "--full-tokens"),
        (("--text=/no/such/novel.txt",), "No such file"),
    ],
)
def test_bad_flags_are_named(
    tiny_llama: Path, novel: Path, tmp_path: Path, flags: tuple[str, ...], match: str
) -> None:
    with pytest.raises(NpcError, match=match):
        stream(tiny_llama, novel, tmp_path, *flags)


def test_a_text_that_is_no_utf8_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    text = tmp_path / "latin1.txt"
    text.write_bytes("naïve".encode("latin-1") * 100)
    with pytest.raises(SetupError, match="byte 2 is 0xef"):
        stream(tiny_llama, text, tmp_path)


def test_a_recurrent_state_has_nothing_to_evict(
    tiny_llama: Path, novel: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="recurrent"):
        stream(tiny_llama.with_name("tiny-mamba.gguf"), novel, tmp_path)
