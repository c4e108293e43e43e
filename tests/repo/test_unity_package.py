"""The Unity package keeps Unity's conventions, and its stubs name their sources."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from npc_engine import __version__
from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # scripts, not a package

import unity_meta

PACKAGE = unity_meta.PACKAGE
STUBS = sorted((PACKAGE.parent / "stubs").glob("*.cs"))
PAGE = r"// https://docs\.unity3d\.com/2021\.3/Documentation/ScriptReference/([\w.\-]+)\.html"
MOVED: dict[str, str] = {}  # where an asset is: where it was first, which its GUID comes from


def guid_in(meta: Path) -> str:
    text = meta.read_text(encoding="utf-8")
    found = re.fullmatch(r"fileFormatVersion: 2\nguid: ([0-9a-f]{32})\n.*", text, re.DOTALL)
    assert found, meta
    return found[1]


def test_every_asset_has_its_own_guid_which_never_changes() -> None:
    assets = list(unity_meta.assets(PACKAGE))
    assert len(assets) > 80
    guids = set()
    for asset in assets:
        path = asset.relative_to(PACKAGE).as_posix()
        assert guid_in(unity_meta.meta_of(asset)) == unity_meta.guid(MOVED.get(path, path)), path
        guids.add(guid_in(unity_meta.meta_of(asset)))
    assert len(guids) == len(assets)
    assert len(list(PACKAGE.rglob("*.meta"))) == len(assets)


def test_a_guid_is_the_same_for_ever() -> None:
    assert unity_meta.guid("Runtime/Core/NpcClient.cs") == "15ec8373eeb637d57cb59c1be52cff7b"


def test_the_script_writes_what_is_missing_and_leaves_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Runtime").mkdir()
    (tmp_path / "Samples~" / "A").mkdir(parents=True)
    for path in ("Runtime/A.cs", "Runtime/A.asmdef", "Samples~/A/B.cs", ".hidden", "gone.cs.meta"):
        (tmp_path / path).write_text("")
    unity_meta.main(tmp_path)
    metas = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.meta")}
    assert metas == {"Runtime.meta", "Runtime/A.cs.meta", "Runtime/A.asmdef.meta"}
    assert "folderAsset: yes" in (tmp_path / "Runtime.meta").read_text()
    assert "MonoImporter" in (tmp_path / "Runtime/A.cs.meta").read_text()
    own = "fileFormatVersion: 2\nguid: 1\n"
    (tmp_path / "Runtime/A.cs.meta").write_text(own)
    capsys.readouterr()
    unity_meta.main(tmp_path)
    assert (tmp_path / "Runtime/A.cs.meta").read_text() == own
    assert capsys.readouterr().out == ""


def test_the_manifest() -> None:
    manifest = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))
    assert manifest["name"] == PACKAGE.name
    assert manifest["version"] == __version__.split(".dev")[0]
    samples = {sample["path"] for sample in manifest["samples"]}
    assert samples == {f"Samples~/{path.name}" for path in (PACKAGE / "Samples~").iterdir()}
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert f"[{manifest['version']}]" in (PACKAGE / "CHANGELOG.md").read_text()


def test_assemblies_know_only_what_they_may() -> None:
    files = [json.loads(p.read_text()) for p in PACKAGE.rglob("*.asmdef")]
    assemblies = {f["name"]: f for f in files}
    assert assemblies["NpcEngine.Core"]["references"] == []
    assert assemblies["NpcEngine.Core"]["noEngineReferences"]
    assert assemblies["NpcEngine.Unity"]["references"] == ["NpcEngine.Core"]
    for path in PACKAGE.rglob("*.asmdef"):
        assert json.loads(path.read_text())["name"] == path.stem


def test_every_member_of_the_stubs_names_its_page() -> None:
    n = 0
    for file in STUBS:
        kind = ""
        lines = file.read_text(encoding="utf-8").splitlines()
        for i, line in enumerate(lines):
            if not re.match(r"\s+(public|protected) ", line) or file.name == "Player.cs":
                continue
            if declared := re.search(r"\b(?:class|struct|delegate void) (\w+)", line):
                kind = declared[1]
            above = i - 1
            while lines[above].strip().startswith("["):
                above -= 1
            page = re.fullmatch(PAGE, lines[above].strip())
            assert page, f"{file.name}: {line}"
            assert re.search(rf"(^|\.){kind}(_1)?($|[-.])", page[1]), f"{file.name}: {line}"
            n += 1
    assert n > 40


def test_what_is_only_for_tests_is_not_public() -> None:
    player = (PACKAGE.parent / "stubs" / "Player.cs").read_text(encoding="utf-8")
    assert re.findall(r"^    public .*", player, re.MULTILINE) == []


def test_the_sample_has_the_example_characters() -> None:
    cards = PACKAGE / "Samples~" / "VillageSquare" / "Resources" / "NpcVillage"
    for card in (ROOT / "examples" / "characters").glob("*.toml"):
        own = json.loads((cards / f"{card.stem}.json").read_text(encoding="utf-8"))
        assert own == tomllib.loads(card.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ["README.md", "Documentation~/index.md"])
def test_the_pages_name_what_there_is(page: str) -> None:
    """Links lead somewhere, and every field of the components is in the documentation."""
    path = PACKAGE / page
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert [x for x in links if not x.startswith("http") and not (path.parent / x).exists()] == []
    sources = "".join(p.read_text() for p in (PACKAGE / "Runtime" / "Unity").glob("*Behaviour.cs"))
    fields = set(re.findall(r"^        public [\w\[\]<>]+ (\w+)(?:;| =)", sources, re.MULTILINE))
    assert len(fields) > 20
    if page.startswith("Doc"):
        assert {f for f in fields if f not in text} == set()
