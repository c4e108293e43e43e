"""llama.cpp's libraries as they are installed: they find each other, and name no other folder."""

import importlib.util
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ELF files")


def libraries() -> list[Path]:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    return sorted(Path(spec.origin).parent.glob("lib/*.so*"))


def dynamic(path: Path) -> dict[str, list[str]]:
    """Tag -> texts, of what the loader reads: NEEDED, RPATH, RUNPATH, SONAME."""
    found: dict[str, list[str]] = {}
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        for tag in section.iter_tags():
            name = tag.entry.d_tag.removeprefix("DT_")
            if hasattr(tag, name.lower()):
                found.setdefault(name, []).append(getattr(tag, name.lower()))
    return found


def test_they_look_for_each_other_in_their_own_folder_alone() -> None:
    """A folder of the machine or the day that they were built on would be looked into first."""
    assert libraries()
    for path in libraries():
        tags = dynamic(path)
        assert "RPATH" not in tags, path
        assert tags.get("RUNPATH", ["$ORIGIN"]) == ["$ORIGIN"], path


def test_zigs_openmp_lies_beside_them() -> None:
    beside = {path.name for path in libraries()}
    needed = {name for path in libraries() for name in dynamic(path)["NEEDED"]}
    assert "libomp.so" not in needed or "libomp.so" in beside
