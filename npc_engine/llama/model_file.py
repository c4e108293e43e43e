"""A model's file, or files, before anything is loaded: can they talk, and are they all there?

Owns what kinds of GGUF files there are that cannot talk, and how a model in parts is named. Says in
one sentence what is wrong. It reads heads only: what llama.cpp makes of the rest is for others.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from npc_engine.errors import ModelError
from npc_engine.llama.gguf_header import MAGIC, Header, read_header

__all__ = ["ModelFile", "cannot_talk", "examine", "fitted", "n_bytes_of"]

_PART = re.compile(r"(?P<stem>.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_OTHER = "Use a .gguf file; llama.cpp's convert_hf_to_gguf makes one of other formats."
_N_START = 64  # bytes that tell what a file is that is no GGUF
_CHAT = "Use a chat model: docs/models.md lists some."

# What general.type, or else general.architecture, says of files that go beside a model.
_BESIDE = {
    "adapter": (
        "is an adapter (LoRA) for a model",
        "Give the model that it was made for; llama.cpp's llama-export-lora merges an adapter into "
        "it.",
    ),
    "mmproj": (
        "is the part of a model that sees or hears (mmproj)",
        "Give the model that it belongs to: the larger .gguf file beside it.",
    ),
    "imatrix": (
        "holds statistics for quantizing a model (imatrix)",
        "Give the model that they were made for.",
    ),
    "controlvector": (
        "is a control vector for a model",
        "Give the model that it was made for.",
    ),
}
_BESIDE["clip"] = _BESIDE["mmproj"]
_DIFFUSION = ("dream", "llada", "llada-moe", "rnd1")
_EMBEDDERS = (
    *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2"),
    *("jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5encoder"),
)
_EMBEDS = "makes vectors of texts (an embedding model)"
_RANKS = "ranks texts (a reranker)"
_DIFFUSES = "writes a text all at once (a diffusion model), not word by word"
_SOUNDS = "makes sound (a vocoder, or a model of speech)"
_DRAFTS = "guesses ahead for a larger model (a draft head)"
_POOLING = {1: _EMBEDS, 2: _EMBEDS, 3: _EMBEDS, 4: _RANKS}  # llama.h: enum llama_pooling_type


@dataclass(frozen=True)
class ModelFile:
    """The files of a model, in order: one, unless it is in parts. `is_whole`: they have heads."""

    parts: tuple[Path, ...]
    is_whole: bool

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return sum(part.stat().st_size for part in self.parts)


def examine(path: Path) -> ModelFile:
    """Return the files of the model at `path`. Raises ModelError where they cannot be one."""
    try:
        with path.open("rb") as f:
            start = f.read(_N_START)
        header = read_header(path) if start.startswith(MAGIC) else None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise ModelError(
            f"The model {str(path)!r} cannot be opened: {getattr(e, 'strerror', None) or e}.",
            "Give the path of a GGUF file; `python models/fetch.py` fetches a small one.",
        ) from None
    if not start.startswith(MAGIC):
        raise ModelError(f"{str(path)!r} is no GGUF model{_instead(start)}", _OTHER)
    if header is None:
        return ModelFile((path,), is_whole=False)
    _check_kind(path, header)
    return ModelFile(_parts(path, header), is_whole=True)


def _instead(start: bytes) -> str:
    """Say what a file is that should have been a model, where downloads often go wrong."""
    if not start:
        return ": it is empty. Download it again."
    if start.startswith(b"version https://git-lfs"):
        return ", but Git LFS's note of one. Fetch the file itself (git lfs pull)."
    if start.lstrip().startswith(b"<"):
        return ", but a web page. Download the file itself."
    return "."


def n_bytes_of(path: Path) -> int:
    """Return the bytes of a model in one file, or of all its parts, by their names alone.

    Raises OSError, or ValueError for a path that cannot be.
    """
    named = _PART.fullmatch(path.name)
    if not named:
        return path.stat().st_size
    parts = _named(path, named["stem"], int(named["count"]))
    return sum(part.stat().st_size for part in {path, *parts} if part.is_file())


def fitted(path: Path) -> Path:
    """Return where the file stands that was made of a model for this CPU, if it was."""
    return path.with_name(f"{path.stem}.fitted.gguf")


def cannot_talk(name: str, arch: str, what: str, advice: str = _CHAT) -> ModelError:
    """Return the error for a whole file that is no chat model; `what` follows its name."""
    # A file's own words must not steer the terminal.
    known_as = f" ({arch})" if arch.isprintable() and 0 < len(arch) < 40 else ""
    return ModelError(f"{name!r}{known_as} {what}: it cannot talk.", advice)


def _check_kind(path: Path, header: Header) -> None:
    arch = header.text("general.architecture")
    kind = "adapter" if "adapter.type" in header.keys else header.text("general.type")
    beside = _BESIDE.get(kind) or _BESIDE.get(arch)
    if beside is None and header.first_tensor.endswith((".lora_a", ".lora_b")):
        beside = _BESIDE["adapter"]
    if beside:
        raise cannot_talk(path.name, arch, *beside)
    what = _what_it_does(arch, header)
    if what:
        raise cannot_talk(path.name, arch, what)
    if not header.n_tensors and (header.number("split.count") or 0) <= 1:
        raise cannot_talk(
            path.name,
            arch,
            "has a vocabulary and no weights",
            "Give the whole model: such files are for trying out tokenizers.",
        )


def _what_it_does(arch: str, header: Header) -> str:
    """What a model does in place of talking; "" when nothing is known."""
    if arch in _DIFFUSION or any(key.startswith("diffusion.") for key in header.keys):
        return _DIFFUSES
    if arch.startswith("wavtokenizer") or arch.endswith("tts"):
        return _SOUNDS
    if arch in ("eagle3", "dflash") or arch.endswith("-assistant"):
        return _DRAFTS  # llama.cpp loads it, and ends the process without the larger one
    if header.keys.get(f"{arch}.attention.causal") is False:
        return _EMBEDS  # each word sees those behind it, too: there is no next one
    pooling = _POOLING.get(header.number(f"{arch}.pooling_type") or 0, "")
    return pooling or (_EMBEDS if arch in _EMBEDDERS else "")


def _parts(path: Path, header: Header) -> tuple[Path, ...]:
    """Return all files of a model, each found to be the part that its name says."""
    count = header.number("split.count") or 0
    if count <= 1:
        return (path,)
    no = header.number("split.no") or 0
    named = _PART.fullmatch(path.name)
    if no:
        first = _named(path, named["stem"], count)[0].name if named else "...-00001-of-....gguf"
        raise ModelError(
            f"{path.name!r} is part {no + 1} of a model in {count} parts.",
            f"Give part 1, and the others are found beside it: {first!r}.",
        )
    if not named or int(named["no"]) != 1 or int(named["count"]) != count:
        stem = _stem_of_others(path, count) or path.stem
        raise ModelError(
            f"{path.name!r} is part 1 of a model in {count} parts, and is not named so: the others "
            "are found by its name.",
            f"Name it {_named(path, stem, count)[0].name!r}, and the others likewise.",
        )
    parts = _named(path, named["stem"], count)
    n_tensors = header.n_tensors
    for i, part in enumerate(parts[1:], 1):
        n_tensors += _check_part(part, i, header)
    _check_count(path, header, n_tensors)
    return parts


def _named(path: Path, stem: str, count: int) -> tuple[Path, ...]:
    return tuple(path.with_name(f"{stem}-{i:05}-of-{count:05}.gguf") for i in range(1, count + 1))


def _stem_of_others(path: Path, count: int) -> str:
    """What the other parts are called before their numbers; "" when that is not clear."""
    found = list(path.parent.glob(f"*-00002-of-{count:05}.gguf"))
    named = _PART.fullmatch(found[0].name) if len(found) == 1 else None
    return named["stem"] if named else ""


def _check_part(part: Path, no: int, first: Header) -> int:
    """Return how many tensors a part has. Raises ModelError where it is another one."""
    count = first.number("split.count")
    who = f"Part {no + 1} of the model, {part.name!r},"
    try:
        header = read_header(part)
    except OSError as e:
        raise ModelError(
            f"{who} cannot be opened: {e.strerror or e}.",
            f"All {count} parts must lie in one folder, under the names that they came with.",
        ) from None
    if header is None:
        raise ModelError(f"{who} is damaged or incomplete.", "Fetch it again.")
    its_no, its_count = header.number("split.no"), header.number("split.count")
    if its_no != no or its_count != count:
        what = f"part {its_no + 1} of {its_count}" if its_no is not None else "no part of a model"
        raise ModelError(
            f"{who} is {what} by its own words.",
            f"Fetch all {count} parts again, or give each its own name back.",
        )
    if header.number("split.tensors.count") != first.number("split.tensors.count"):
        raise ModelError(
            f"{who} belongs to another model.", f"Fetch all {count} parts of one model."
        )
    return header.n_tensors


def _check_count(path: Path, header: Header, n_tensors: int) -> None:
    needed = header.number("split.tensors.count")
    if needed is not None and n_tensors != needed:
        raise ModelError(
            f"The parts of {path.name!r} have {n_tensors} tensors together, and the model has "
            f"{needed}: one of them belongs to another model.",
            "Fetch all parts of one model again.",
        )
