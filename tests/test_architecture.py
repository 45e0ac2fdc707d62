"""What holds of all our modules: names that exist once, files that fit into a head, errors that keep their cause.

The floors, which rooms import which, are checked by import-linter (`make lint`).
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("compress", "export", "bench")
MOST_LINES = 400


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in modules():
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"), path)


def test_there_are_modules():
    assert len(modules()) > 100


def test_no_class_has_the_name_of_another():
    places = defaultdict(list)
    for name, tree in trees():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_module_is_too_long():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_error_hides_its_cause():
    """``raise … from None`` throws away what a developer needs; users see one line all the same."""
    hiding = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Constant) and node.cause.value is None
    ]
    assert hiding == []


def test_what_the_terminal_shows_is_made_in_one_place():
    """Text of data, files and bundles is never markup: tables and lines come from `compress.console`."""
    making = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Table", "Panel", "Rule")
    ]
    assert [place for place in making if not place.startswith(("compress/console.py", "bench/studies/"))] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_modules_is_a_package(package: str):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
