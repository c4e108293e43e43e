"""Write Jane Austen's *Emma* as a text file: the long text of the committed benchmarks.

usage: python benchmarks/novel.py [FILE.txt]     (default: emma.txt)

The text is Project Gutenberg's eBook 158 as the R package janeaustenr has it, fetched with apt-get
from Debian or Ubuntu. It is checked against a SHA-256, so the figures can be repeated to the digit.
On another system any long text does, with other figures.
"""

import hashlib
import io
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "r-cran-janeaustenr"
MEMBER = "./usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
SHA256 = "dd08b340a56ad4a0a00718d5682528a5a5886ae0aef91c9e0fa528074fa64b75"
STRINGS = 16  # R's serialization: a vector of strings (R Internals, 1.8)


def main() -> None:
    """Fetch the package, and write the one novel in it that verifies."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "emma.txt")
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    for novel in novels(package()):
        if hashlib.sha256(novel).hexdigest() == SHA256:
            path.write_bytes(novel)
            print(path)
            return
    sys.exit(f"{PACKAGE} has changed: none of its novels verifies. Any other long text does.")


def package() -> bytes:
    """Return the file in the package that has the novels."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            sys.exit(f"There is no {tool} here. Any long text in UTF-8 does instead of this one.")
    with tempfile.TemporaryDirectory() as folder:
        got = subprocess.run(
            ["apt-get", "download", "-q", PACKAGE], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        debs = list(Path(folder).glob("*.deb"))
        if got.returncode or not debs:
            sys.exit(f"apt-get could not download {PACKAGE} (apt-get update first?):\n{got.stderr}")
        tar = subprocess.check_output(["dpkg-deb", "--fsys-tarfile", debs[0]])
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        member = files.extractfile(MEMBER)
        return member.read() if member else b""


def novels(data: bytes) -> Iterator[bytes]:
    """Yield each novel of an R lazy-load database: vectors of lines, compressed one by one."""
    while len(data) > 4:
        unpack = zlib.decompressobj()
        record = unpack.decompress(data[4:])  # before it stands its length
        data = unpack.unused_data
        at = 14  # format, and the versions that wrote it and can read it
        if _int(record, 2) == 3:
            at += 4 + _int(record, at)  # the name of its encoding
        if _int(record, at) & 0xFF == STRINGS:
            yield b"\n".join(_strings(record, at + 8, _int(record, at + 4)))


def _strings(record: bytes, at: int, n: int) -> Iterator[bytes]:
    for _ in range(n):
        length = max(0, _int(record, at + 4))  # -1: not available
        yield record[at + 8 : at + 8 + length]
        at += 8 + length


def _int(record: bytes, at: int) -> int:
    return int(struct.unpack_from(">i", record, at)[0])


if __name__ == "__main__":
    main()
