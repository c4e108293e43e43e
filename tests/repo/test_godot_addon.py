"""What ships for Godot: one version, one license, and only the addon."""

import configparser
import io
import re
import subprocess
import tarfile

import pytest

from npc_engine import __version__
from tests.support.paths import ROOT

ADDON = ROOT / "godot_bridge" / "addons" / "npc_engine"


def test_addon_and_engine_have_one_version() -> None:
    config = configparser.ConfigParser()
    config.read(ADDON / "plugin.cfg")
    assert config["plugin"]["version"].strip('"') == __version__
    versions = re.findall(r"^## \[(.+?)\]", (ADDON / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_addon_carries_the_license() -> None:
    assert (ADDON / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_scripts_have_the_ids_that_scenes_refer_to() -> None:
    scripts = list(ADDON.rglob("*.gd"))
    assert len(scripts) > 10
    ids = [s.with_name(s.name + ".uid").read_text().strip() for s in scripts]
    assert all(i.startswith("uid://") for i in ids)
    assert len(set(ids)) == len(ids)


def test_a_download_holds_only_the_addon() -> None:
    command = ["git", "-C", str(ROOT), "archive", "HEAD:godot_bridge"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
    assert "addons/npc_engine/plugin.cfg" in names
    assert [n for n in names if n != "addons" and not n.startswith("addons/npc_engine")] == []


def test_pages_lead_somewhere() -> None:
    pages = [ROOT / "godot_bridge" / "README.md", ADDON / "README.md", ROOT / "docs" / "godot.md"]
    for page in pages:
        links = re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))
        missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
        assert missing == [], page
        if page.parent == ADDON:  # it is alone where it is copied to
            assert [x for x in links if x.startswith("..")] == []
