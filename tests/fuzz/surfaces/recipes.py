"""Recipes: YAML files, and fields set on the command line."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, STRANGE, altered_bytes, altered_json

from compress.cli.options import assigned
from compress.recipe.file import load_recipe
from compress.recipe.recipe import Recipe
from compress.runs.directory import open_run

RECIPE, ASSIGNMENTS = "recipe.yaml", "set.json"
_LARGEST = 10**12  # of what any machine has
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
"""A billion values in a few lines (Klein, 2002)."""
YAML: Mapping[str, str] = {
    **STRANGE,
    "not a number": ".nan",
    "infinite": ".inf",
    "a date of YAML": "2020-01-01",
    "a time of YAML": "1:30",
    "Norway": "no",
    "code": "!!python/object/apply:os.system [id]",
    "a name of Python": "!!python/name:os.system",
    "an alias of nothing": "*nowhere",
    "itself": "&a [*a]",
    "a set": "!!set {a, b}",
    "bytes": "!!binary aGVsbG8=",
    "an unhashable key": "{[1]: 2}",
    "a tag": "!foo 1",
    "text with a colon": "translate {source} to {target}: ",
    "an attribute": "'{source.__class__}'",
    "room for a billion": "'{source:>1000000000}'",
}


def whole_recipe() -> dict[str, Any]:
    """Every field with a value of its own kind, where the default has one."""
    recipe: dict[str, Any] = Recipe().model_dump(mode="json")
    recipe["data"] |= {"prefix": "translate {source}", "languages": ["de", "en"], "language_codes": {"de": "deu"}}
    recipe["export"]["budget"] = {"points": 1.0}
    return recipe


def ask(folder: Path) -> None:
    """Read the recipe, keep it in a run, and compare all fields with what is written."""
    path, assignments = folder / RECIPE, folder / ASSIGNMENTS
    overrides = assigned(json.loads(assignments.read_text("utf-8")) if assignments.exists() else None)
    recipe = load_recipe(None if assignments.exists() and not path.exists() else path, overrides)
    run = open_run(recipe, folder / "runs")
    taken = recipe.model_dump(mode="json")
    if load_recipe(run.folder / "recipe.yaml").model_dump(mode="json") != taken:
        raise WrongAnswer("what the run keeps is another recipe")
    _check_numbers(taken, "")
    if path.is_file():
        written = yaml.load(path.read_text("utf-8"), _StrictLoader) or {}
        for dotted, value in overrides.items():
            _set(written, dotted.split("."), value)
        _check(written, taken, "")


def _set(content: dict[str, Any], place: list[str], value: Any) -> None:
    for name in place[:-1]:
        content[name] = dict(content.get(name) or {})  # an alias may have it elsewhere too
        content = content[name]
    content[place[-1]] = value


class _StrictLoader(yaml.SafeLoader):
    """YAML as its specification has it: no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) > len(set(map(str, keys))):
            raise WrongAnswer(f"accepted, but a key is there twice: {keys!s:.200}")
        return super().construct_mapping(node, deep)


def _check_numbers(taken: Any, place: str) -> None:
    inner = taken.items() if isinstance(taken, dict) else enumerate(taken) if isinstance(taken, list) else ()
    for key, value in inner:
        _check_numbers(value, f"{place}.{key}")
    if isinstance(taken, int | float) and not (math.isfinite(taken) and abs(taken) <= _LARGEST):
        raise WrongAnswer(f"{place}: {taken!s:.50} is accepted")


def _check(written: Any, taken: Any, place: str) -> None:
    """Every value that is written is taken for itself; numbers may be written as text, as YAML has 1e-3."""
    if isinstance(written, dict) and isinstance(taken, dict):
        for key, value in written.items():
            _check(value, taken.get(key), f"{place}.{key}")
    elif isinstance(written, list) and isinstance(taken, list) and len(written) == len(taken):
        for number, (one, other) in enumerate(zip(written, taken, strict=True)):
            _check(one, other, f"{place}.{number}")
    elif not _means(written, taken):
        raise WrongAnswer(f"{place}: {written!r:.100} is taken for {taken!r:.100}")


def _means(written: Any, taken: Any) -> bool:
    if isinstance(written, str) and isinstance(taken, int | float) and not isinstance(taken, bool):
        return float(written) == taken
    return written == taken and isinstance(written, bool) == isinstance(taken, bool)


def draw(random_: random.Random, folder: Path) -> str:
    """A whole recipe that is altered, or the demo's with fields set."""
    recipe = whole_recipe()
    way = random_.choice(("field", "field", "field", "bytes", "set"))
    if way == "bytes":
        words, raw = altered_bytes(random_, yaml.safe_dump(recipe, sort_keys=False).encode())
        (folder / RECIPE).write_bytes(raw)
        return words
    if way == "field":
        words, text = altered_json(random_, recipe, YAML)
        (folder / RECIPE).write_text(text, "utf-8", "surrogatepass")
        return words
    field = ".".join(map(str, random_.choice(list(_fields(recipe)))))
    words, text = random_.choice(list(YAML.items()))
    (folder / ASSIGNMENTS).write_text(json.dumps([f"{field}={text}"]), "utf-8")
    return f"--set {field} to {words}"


def _fields(content: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [
        place for key, value in content.items() if isinstance(value, dict) for place in _fields(value, (*above, key))
    ]
    return [*((*above, key) for key in content), *inner]


def written(text: str | bytes) -> Spoil:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return lambda folder: (folder / RECIPE).write_bytes(raw) and None


def set_to(*assignments: str) -> Spoil:
    return lambda folder: (folder / ASSIGNMENTS).write_text(json.dumps(assignments), "utf-8") and None


def in_place_of_a_file(replace: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        written("seed: 1\n")(folder)
        replace(folder / RECIPE)

    return spoil


REFUSED = (
    ALIASES,
    ALIASES.replace("a: &a", "name: &a"),
    ALIASES + "name: *i",
    "hello",
    "[1]",
    "a: 1\n---\nb: 2",
    "name: [",
    "name:\t\tx\n\tfoo: 1",
    "name: x".encode("utf-16"),
    b"name: caf\xe9",
    b"name: a\0b",
    "name: &a [*a]",
    "&a\nname: x\ndata: *a",
    "name: " + "[" * 100_000,
    "\n".join(" " * depth + "a:" for depth in range(3000)),
    "name: !!python/object/apply:os.system ['id']",
    "? {a: 1}\n: 2",
    "5: x",
    "yes: 1",
    "seed: 1\nseed: 2",
    "data: {5: x}",
    "studnt: {}",
    "student: {distillation: {hiden: 1}}",
    "export: {tensorrt: {profiles: [{btch: [1, 1, 1]}]}}",
    "student: null",
    "student: x",
    "name: ../x",
    "name: latest",
    "name: ..",
    'name: "a\\n"',
    "name: 5",
    "seed: -1",
    "seed: .nan",
    "seed: 1e400",
    "seed: " + "9" * 5000,
    "student: {layers: 1000000000000}",
    "student: {hidden_size: 99999999999999999999, heads: 1}",
    "student: {training: {batch_size: 99999999999999999999999}}",
    "student: {training: {learning_rate: .inf}}",
    "student: {distillation: {temperature: .inf}}",
    "student: {cache: {limit_gb: .nan}}",
    "student: {cache: {limit_gb: 1000000000000000000000000000000}}",
    "generation: {length_penalty: .nan}",
    "student: {training: {language_exponent: no}}",
    "bench: {batch_sizes: [8, true]}",
    "data: {language_codes: {de: !!binary aGVsbG8=}}",
    "export: {tensorrt: {hardware_compatible: 0}}",
    "export: {budget: {points: .inf}}",
    "task: translation\ndata: {source: x, prefix: '{source.__class__}'}",
    "task: translation\ndata: {source: x, prefix: '{source:>1000000000}'}",
    "task: translation\ndata: {source: x, prefix: '{source[0]}'}",
    "data: {languages: [no, de]}",
    "data: {languages: de}",
    "bundle: {data_license: [a]}",
    "studnt[/]: 1",
    "!foo {name: x}",
    "name: *x",
)
ACCEPTED = ("", "null", "\ufeffname: x", "# " + "x" * 1_000_000 + "\nname: x", "name: con")
SET_REFUSED = (
    "seed",
    "=5",
    "seed=[",
    "seed={",
    "seed=*a",
    "seed=&a [*a]",
    "seed=\0",
    "seed='",
    "seed=" + "[" * 3000,
    "seed=" + "9" * 5000,
    "seed=2020-01-01",
    "seed=1\nname: x",
    "name=!!python/object/apply:os.system [id]",
    "name=a: b",
    'name="\\ud800"',
    "a..b=1",
    ".=1",
    "[/]=1",
    "student=5",
    "student.layers.x=1",
    "student.layers=",
    "student.training.learning_rate=.inf",
    "data.languages=de",
    "data.prefix=translate {source} to {target}: ",
    "export.tensorrt.profiles.0.batch=1",
    "task=!!set {a}",
    "name=" + "x" * 10_000,
    "bundle.data_license=" + DEEP,
)


def _aliases_shared_with_set(folder: Path) -> None:
    written("teacher: {training: &t {epochs: 1}}\nstudent: {training: *t}")(folder)
    set_to("student.training.epochs=5")(folder)


def surface(material: Material) -> Surface:
    wanted: dict[Wants, tuple[str | bytes, ...]] = {"refused": REFUSED, "accepted": ACCEPTED}
    cases: dict[str, tuple[Spoil, Wants]] = {
        f"{text!r:.60}": (written(text), wants) for wants, texts in wanted.items() for text in texts
    }
    cases |= {f"--set {text!r:.60}": (set_to(text), "refused") for text in SET_REFUSED}
    cases |= {f"in place of a file: {name}": (in_place_of_a_file(put), "refused") for name, put in REPLACEMENTS.items()}
    cases["aliases, one of them set"] = (_aliases_shared_with_set, "accepted")
    return Surface("recipes", ask, cases, draw, draws=1500, places=("--set", "recipe: "))
