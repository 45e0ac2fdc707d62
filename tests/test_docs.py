"""The documentation: links that lead somewhere, recipes that are valid, commands, options and fields that exist."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml

from compress.cli.app import app
from compress.recipe.recipe import Recipe
from compress.recipe.reference import field_paths, reference_page
from compress.variants.registry import variants_table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "artifacts/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HISTORY = ROOT / "CHANGELOG.md"  # names what was

COMMANDS = typer.main.get_command(app)
OPTIONS = {
    name: {"--help"}
    | {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name, command in [("", COMMANDS), *COMMANDS.commands.items()]  # type: ignore[attr-defined]
}
FIELDS = {*field_paths(), *Recipe.model_fields}
SECTIONS = "|".join(name for name in Recipe.model_fields if any(field.startswith(f"{name}.") for field in FIELDS))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    """A page as the site has it."""
    return re.sub(r"<!-- recipe reference: .*? -->", lambda _: reference_page(), page.read_text("utf-8"))


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def fenced_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


def code_in(page: Path) -> Iterator[str]:
    """Inline code, and the lines of code blocks."""
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose_of(page))
    for block in re.findall(r"^```\w*\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def calls_in(page: Path) -> Iterator[tuple[str, str]]:
    """Each command with its arguments; options of the program itself belong to the command without a name."""
    for line in code_in(page):
        for call in re.split(r"&&|\s#\s", line):
            if found := re.search(r"(?:^|[$;] |-m )compress( (?:[a-z]+|--)[^|>]*)", call.strip()):
                name, _, arguments = found[1].strip().partition(" ")
                yield ("", found[1]) if name.startswith("--") else (name, arguments)


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    named = {found[1] for heading in headings if (found := re.search(r"\{ #(\S+) \}", heading))}
    return named | {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_the_readme_is_read_in_five_minutes():
    assert len(README.read_text("utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", [*PAGES, HISTORY], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose_of(page)):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors_of(linked), target


def test_every_page_is_in_the_navigation():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    listed = re.findall(r"[\w/-]+\.md", str(navigation))
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


@every_page
def test_recipes_are_valid(page: Path):
    for block in fenced_blocks(page, "yaml"):
        content = yaml.safe_load(block)
        if not set(content) & set(Recipe.model_fields) or "jobs" in content:
            continue  # something else, such as a workflow
        Recipe.model_validate(content)


@every_page
def test_commands_and_their_options_exist(page: Path):
    for name, arguments in calls_in(page):
        assert name in OPTIONS, name
        assert set(re.findall(r"(?<!\S)--[a-z][\w-]*", arguments)) <= OPTIONS[name], f"compress {name} {arguments}"


@every_page
def test_options_that_stand_alone_exist(page: Path):
    alone = {code.split("=")[0].split()[0] for code in code_in(page) if code.startswith("--")}
    assert alone <= set().union(*OPTIONS.values())


@every_page
def test_fields_of_the_recipe_exist(page: Path):
    named = {found[1] for code in code_in(page) if (found := re.match(rf"((?:{SECTIONS})(?:\.\w+)+)(?:$|[:=])", code))}
    named = {name for name in named if not name.endswith((".json", ".zst"))}  # files
    named |= {field for code in code_in(page) for field in re.findall(r"--set '?([a-z][\w.]+)=", code)}
    assert named - FIELDS == set()


def test_what_is_looked_for_is_found():
    measuring, data = ROOT / "docs/guides/measure.md", ROOT / "docs/guides/data.md"
    assert ("bench", "--load") in list(calls_in(ROOT / "docs/guides/load.md"))
    assert ("distill", "my.yaml") in list(calls_in(ROOT / "docs/guides/processes.md"))
    assert "how-it-measures" in anchors_of(measuring)
    assert "student-distillation" in anchors_of(ROOT / "docs/recipe.md")
    assert any(code == "data.unlabelled" for code in code_in(ROOT / "docs/guides/distil.md"))
    assert any(code.startswith("--task") for code in code_in(data))


@every_page
def test_the_modules_that_a_page_runs_exist(page: Path):
    for module in re.findall(r"python -m ((?:compress|export|bench)[\w.]*)", text_of(page)):
        assert find_spec(module), module


def test_the_table_of_variants_is_the_registry_s():
    # Made by: python -c "from compress.variants.registry import variants_table; print(*variants_table(), sep='\\n')"
    text = (ROOT / "README.md").read_text("utf-8")
    table = text.partition("<!-- variants: begin -->")[2].partition("<!-- variants: end -->")[0]
    assert table.strip().splitlines() == list(variants_table())
