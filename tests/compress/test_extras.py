"""A command whose extra is missing says which one; what proves an extra is what the extra installs."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from compress import extras
from compress.errors import UnavailableError
from compress.extras import PROOF, missing_modules, require

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """Lets modules look as if they were not installed."""

    def hide(*names: str) -> None:
        monkeypatch.setattr(extras, "find_spec", lambda name: None if name in names else object())

    return hide


def refusal(command: str, *wanted) -> str:
    with pytest.raises(UnavailableError) as caught:
        require(command, *wanted)
    return str(caught.value)


def test_what_is_installed_is_not_asked_for(without):
    without()
    require("compress run", "distill", "export", "bench", "cpu")


def test_one_missing_module_is_named_with_its_extra(without):
    without("onnxruntime")
    assert refusal("compress export", "export", "cpu") == (
        "compress export: needs onnxruntime, which is not installed; install the extra `cpu` (or `gpu`): "
        "pip install 'compress-export[cpu]'"
    )


def test_several_missing_modules_are_named_with_theirs(without):
    without("torch", "datasets")
    assert refusal("compress distill", "distill") == (
        "compress distill: needs torch and datasets, which are not installed; install the extra `distill`: "
        "pip install 'compress-export[distill]'"
    )


def test_extras_that_lack_nothing_are_not_named(without):
    without("torch", "onnxscript", "onnx_ir", "cyclonedx", "matplotlib")
    message = refusal("compress run", "distill", "export", "cpu")
    assert "needs torch, onnxscript, onnx_ir and 2 more, which are not installed" in message
    assert "install the extras `distill` and `export`: pip install 'compress-export[distill,export]'" in message
    assert "\n" not in message


def test_nothing_is_imported_to_find_out():
    program = (
        "import sys\n"
        "from compress.extras import PROOF, missing_modules\n"
        "for extra in PROOF: missing_modules(extra)\n"
        "heavy = {module for modules in PROOF.values() for module in modules} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_all_extras_are_there_where_the_tests_run():
    assert {extra: missing_modules(extra) for extra in PROOF} == {extra: [] for extra in PROOF}


@pytest.mark.parametrize("extra", list(PROOF))
def test_an_extra_installs_what_proves_it(extra):
    declared = {_normalised(name) for name in _required(extra)}
    packages = metadata.packages_distributions()
    for module in PROOF[extra]:
        providers = {_normalised(name) for name in packages[module]}
        assert providers & declared, f"{module} comes with {providers}, which `{extra}` does not ask for"


def test_the_base_installs_no_proof_of_any_extra():
    base = {_normalised(_name(text)) for text in _project()["dependencies"]}
    packages = metadata.packages_distributions()
    proofs = {module for modules in PROOF.values() for module in modules}
    assert not {module for module in proofs if base & {_normalised(name) for name in packages[module]}}


def test_all_is_all_that_a_machine_without_a_gpu_needs():
    assert set(_required("all")) >= {name for extra in PROOF for name in _required(extra)}


def _required(extra: str) -> Iterator[str]:
    """Names of the packages that an extra asks for, with those of the extras that it is made of."""
    for text in _project()["optional-dependencies"][extra]:
        if _name(text) != "compress-export":
            yield _name(text)
            continue
        for part in re.search(r"\[(.*)\]", text)[1].split(","):
            yield from _required(part)


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
