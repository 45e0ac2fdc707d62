"""Recipes in editors: with our JSON Schema the YAML language server accepts what we accept and marks what we refuse."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

MODULES = Path(os.environ.get("COMPRESS_NODE_MODULES", ""))
EXAMPLES = sorted(Path("examples").glob("*.yaml"))
RECIPES = [path for path in EXAMPLES if "recipe" not in yaml.safe_load(path.read_text("utf-8"))]  # others are plans
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (MODULES / "yaml-language-server").is_dir(),
    reason="needs Node.js and the language server: `make interop` installs it where npm is",
)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "recipe.schema.json"
    path.write_text(compress("recipe", "--schema"), "utf-8")
    return path


def compress(*arguments: str) -> str:
    return subprocess.run(["compress", *arguments], capture_output=True, text=True, check=True).stdout


def lines_marked(schema: Path, recipe: Path) -> list[int]:
    done = subprocess.run(
        ["node", Path(__file__).with_name("validate_recipe.js"), schema, recipe],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NODE_PATH": str(MODULES.resolve())},
    )
    return sorted(int(line.partition(":")[0]) for line in done.stdout.splitlines())


def test_the_printed_recipe_is_accepted(schema: Path, tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(compress("recipe"), "utf-8")
    assert lines_marked(schema, tmp_path / "recipe.yaml") == []


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_examples_are_accepted(schema: Path, recipe: Path):
    assert lines_marked(schema, recipe) == []


def test_what_is_wrong_is_marked(schema: Path, tmp_path: Path):
    lines = [
        "student: {layer: 2}",
        "seed: many",
        "task: summarise",
        "export: {variants: [onnx-int5]}",
        "teacher: {training: {epochs: -1}}",
        "name: fine",
    ]
    (tmp_path / "recipe.yaml").write_text("\n".join(lines), "utf-8")
    assert lines_marked(schema, tmp_path / "recipe.yaml") == [1, 2, 3, 4, 5]
