"""What users install: the wheel, in an environment of its own, with what serving needs and no more."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "compress", "export", "bench")
# What serving must not bring: PyTorch, data sets, and what trains or draws.
ABSENT = ("torch", "datasets", "pyarrow", "pandas", "scikit-learn", "accelerate", "tensorboard", "matplotlib", "babel",
          "onnxscript", "cyclonedx-python-lib", "sacrebleu", "seqeval")  # fmt: skip
MOST_PACKAGES = 50


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    scripts: Path
    folder: Path

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, away from our sources."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [self.scripts / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=clean,
            check=False,
        )

    def python(self, program: str) -> str:
        """What a Python program prints, which must succeed and say nothing else."""
        done = self.run("python", "-c", program)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools takes what an earlier build has left beside the sources into a wheel."""
    root = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, root / name)
    _pip("wheel", "--no-deps", "--wheel-dir", root / "dist", root)
    (found,) = (root / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with the extra `cpu`; what is never imported is not compiled, which takes a minute."""
    root = tmp_path_factory.mktemp("installed")
    venv.create(root / "environment")
    scripts = root / "environment" / "bin"
    _pip("--python", scripts / "python", "install", "--no-compile", f"{wheel}[cpu]")
    (root / "elsewhere").mkdir()
    return Installed(scripts, root / "elsewhere")


@pytest.fixture(scope="module")
def bundle(finished_run: Path, compress_command: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """Packed with all that is installed here; served with what the wheel asks for."""
    done = compress_command("bundle", finished_run, "--accept", "onnx", "--accept", "onnx-int8")
    assert done.returncode == 0, done.stderr
    return finished_run / "bundle"


@pytest.mark.slow
def test_the_wheel_holds_what_is_read_at_run_time_and_no_studies(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "compress = compress.cli.app:main" in archive.read(entry_points).decode()
    beside = [path for path in _data_files() if not path.startswith("bench/studies/")]
    assert {"compress/py.typed", "export/py.typed", "bench/py.typed"} <= set(beside)
    assert [path for path in beside if path not in names] == []
    assert [name for name in names if name.startswith(("bench/studies", "tests", "docs"))] == []


@pytest.mark.slow
def test_serving_needs_no_pytorch(installed: Installed):
    program = "import json, importlib.metadata as m; print(json.dumps([d.metadata['Name'] for d in m.distributions()]))"
    packages = {name.lower() for name in json.loads(installed.python(program))}
    assert packages.isdisjoint(ABSENT)
    assert {"compress-export", "onnxruntime", "transformers"} <= packages
    assert len(packages) <= MOST_PACKAGES


@pytest.mark.slow
def test_help_works_and_serving_can_be_imported(installed: Installed):
    done = installed.run("compress", "--help")
    assert done.returncode == 0, done.stderr
    assert "verify" in done.stdout
    installed.python("import compress.serving.client, export.bundle.trust.verify, compress.cli.app")


@pytest.mark.slow
def test_the_version_is_the_project_s(installed: Installed, wheel: Path):
    version = installed.python("from compress.runs.versions import program_version; print(program_version())").strip()
    assert wheel.name.startswith(f"compress_export-{version}-")


@pytest.mark.slow
def test_the_target_is_found_without_pytorch(installed: Installed):
    from compress.targets import resolve_target

    found = installed.python("from compress.targets import resolve_target; print(resolve_target('auto').name)")
    assert found.strip() == resolve_target("auto").name


@pytest.mark.slow
def test_a_bundle_is_verified(installed: Installed, bundle: Path):
    done = installed.run("compress", "verify", bundle, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    asked = [check for check in content["checks"] if check["what"].endswith("says what it said")]
    assert content["verdict"] == "pass"
    assert asked
    assert all(check["passed"] for check in asked)
    assert "PyTorch" not in done.stderr


@pytest.mark.slow
def test_a_bundle_is_asked_and_answers_as_here(installed: Installed, bundle: Path):
    import compress

    texts = ["12. März 1999", "3,50 €", "57 %"]
    program = (
        "import json, compress\n"
        f"answers = compress.load({str(bundle)!r}).predict({texts!r})\n"
        "print(json.dumps([answer.prediction for answer in answers]))\n"
    )
    assert json.loads(installed.python(program)) == [a.prediction for a in compress.load(bundle).predict(texts)]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["distill", "export", "bench"])
def test_a_command_that_lacks_its_extra_says_which(installed: Installed, command: str):
    done = installed.run("compress", command)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: compress {command}: needs torch")
    assert f"install the extra `{command}`: pip install 'compress-export[{command}]'" in line
    assert not (installed.folder / "artifacts").exists()


@pytest.mark.slow
def test_doctor_tells_which_extras_are_missing(installed: Installed):
    done = installed.run("compress", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    abilities = {ability["what"]: ability for ability in json.loads(done.stdout)["abilities"]}
    assert not abilities["distil on the CPU"]["available"]
    assert "extra `distill`" in abilities["distil on the CPU"]["note"]


def _data_files() -> list[str]:
    """Files beside the modules, as git knows them."""
    listed = subprocess.run(["git", "ls-files", *SOURCES[2:]], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if not name.endswith((".py", ".md"))]


def _pip(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
