"""What a user has: a wheel in an environment of its own, far from the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from npc_engine.version import __version__
from tests.support.pages import PYTHON, python_page
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

TIMEOUT_S = 240.0
PROGRAM = """\
from npc_engine import Card, Client, Engine, Line, NpcError, Sidecar


def play_animation(name: str) -> None: ...


def speak(text: str) -> None: ...


def connect(remote: bool) -> Client:
    return Client("tcp://127.0.0.1:5757") if remote else Sidecar("q4.gguf").client()


engine = Engine.open("q4.gguf", window=2048)
"""
ALL_MODULES = """\
import importlib, pkgutil, npc_engine
found = pkgutil.walk_packages(npc_engine.__path__, "npc_engine.")
names = [module.name for module in found if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(npc_engine.__file__, len(names))
"""


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a program that knows nothing of the checkout; return its stdout."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**kept, "NPC_ENGINE_CACHE_DIR": str(cwd / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel; the libraries it needs are ours."""
    env = tmp_path_factory.mktemp("user") / "env"
    venv.create(env, symlinks=os.name != "nt")
    programs = env / ("Scripts" if os.name == "nt" else "bin")
    places = [place for place in sys.path if Path(place).name == "site-packages"]
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(programs / "python", "-c", code, cwd=env).strip())
    # Not as site folders: the checkout, which is installed there, stays out.
    (packages / "ours.pth").write_text(f"import sys; sys.path += {places!r}\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", *built.glob("*.whl"), cwd=env)
    return programs


def sources() -> set[str]:
    return {str(path.relative_to(ROOT).as_posix()) for path in (ROOT / "npc_engine").rglob("*.py")}


def test_every_room_is_in_git() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    ignored = subprocess.run(
        [git, "check-ignore", "--no-index", "--stdin"],
        input="\n".join(sorted(sources())),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ignored.stdout.split() == []


def test_wheel_and_sdist_hold_all_of_it(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.endswith(".py")} == sources()
    cards = {path.name for path in (ROOT / "examples" / "characters").iterdir() if path.is_file()}
    assert {f"npc_engine/cards/shipped/{name}" for name in cards} <= names
    assert "npc_engine/py.typed" in names
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert sources() <= inside
    assert {f"examples/characters/{name}" for name in cards} <= inside


def test_the_program(installed: Path, tmp_path: Path) -> None:
    assert "\n    serve " in run(installed / "npc-engine", "--help", cwd=tmp_path)
    assert run(installed / "npc-engine", "--version", cwd=tmp_path).split()[1] == __version__
    run(installed / "npc-engine", "demo", cwd=tmp_path, status=2)  # no model: it says so


def test_every_module_can_be_imported(installed: Path, tmp_path: Path) -> None:
    file, n_modules = run(installed / "python", "-c", ALL_MODULES, cwd=tmp_path).split()
    assert not Path(file).is_relative_to(ROOT)
    assert int(n_modules) > 150


def test_the_face_and_the_shipped_characters(installed: Path, tmp_path: Path) -> None:
    code = (
        "from npc_engine import Card, Client, Engine, Sidecar\n"
        "from npc_engine.cards.examples import example_card, example_names\n"
        "print(*(example_card(name).char for name in example_names()))"
    )
    assert "Mara" in run(installed / "python", "-c", code, cwd=tmp_path)


@pytest.mark.model
def test_the_demo(installed: Path, tmp_path: Path, tiny_llama: Path) -> None:
    shown = run(installed / "npc-engine", "demo", "--model", tiny_llama, cwd=tmp_path)
    assert "No terminal: playing a scripted talk." in shown
    assert "as at the save" in shown


def test_a_users_program_is_typed(installed: Path, tmp_path: Path) -> None:
    """All that docs/python.md shows, every verb, under mypy --strict."""
    program = tmp_path / "game.py"
    program.write_text(PROGRAM + "\n".join(PYTHON.findall(python_page())), encoding="utf-8")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "python")
    cache = ("--cache-dir", tmp_path / "cache", "--config-file", os.devnull)
    said = run(*mypy, *cache, program, cwd=tmp_path)
    assert said.startswith("Success")
    program.write_text(f"{program.read_text('utf-8')}\nengine.say(1)\n", encoding="utf-8")
    assert "arg-type" in run(*mypy, *cache, program, cwd=tmp_path, status=1)
