"""Give every asset of the Unity package its .meta: python tools/unity_meta.py

Unity knows an asset by the GUID in its .meta, and cannot make one in a package that came by git. A
GUID comes from the path at which an asset was first; a .meta that is there is never changed, so an
asset that moves takes its own along.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "bindings" / "unity" / "com.npcengine.unity"

PLAIN = """\
{importer}:
  externalObjects: {{}}
  userData:
  assetBundleName:
  assetBundleVariant:
"""
SCRIPT = """\
MonoImporter:
  externalObjects: {}
  serializedVersion: 2
  defaultReferences: []
  executionOrder: 0
  icon: {instanceID: 0}
  userData:
  assetBundleName:
  assetBundleVariant:
"""
IMPORTERS = {".asmdef": "AssemblyDefinitionImporter", ".md": "TextScriptImporter"}


def assets(package: Path) -> Iterator[Path]:
    """All that Unity imports: not what is hidden, or in a folder whose name ends in ~."""
    for path in sorted(package.rglob("*")):
        parts = path.relative_to(package).parts
        hidden = any(part.startswith(".") or part.endswith("~") for part in parts)
        if not hidden and path.suffix != ".meta":
            yield path


def meta_of(asset: Path) -> Path:
    """Return where an asset's .meta is."""
    return asset.with_name(asset.name + ".meta")


def guid(path: str) -> str:
    """Return the GUID of what is first at a path, which is relative to the package."""
    return hashlib.md5(f"com.npcengine.unity/{path}".encode(), usedforsecurity=False).hexdigest()


def meta(asset: Path, package: Path) -> str:
    """Return what a new asset's .meta says."""
    head = f"fileFormatVersion: 2\nguid: {guid(asset.relative_to(package).as_posix())}\n"
    if asset.is_dir():
        return head + "folderAsset: yes\n" + PLAIN.format(importer="DefaultImporter")
    if asset.suffix == ".cs":
        return head + SCRIPT
    if asset.name == "package.json":
        return head + PLAIN.format(importer="PackageManifestImporter")
    return head + PLAIN.format(importer=IMPORTERS.get(asset.suffix, "DefaultImporter"))


def main(package: Path = PACKAGE) -> None:
    """Write what is missing, and remove what belongs to nothing any more."""
    wanted = {meta_of(asset): asset for asset in assets(package)}
    for path, asset in wanted.items():
        if not path.exists():
            path.write_text(meta(asset, package), encoding="utf-8", newline="\n")
            print("new:", path.relative_to(package))
    for path in sorted(package.rglob("*.meta")):
        if path not in wanted:
            path.unlink()
            print("gone:", path.relative_to(package))


if __name__ == "__main__":
    main()
