"""The recipe: everything a run depends on, in one YAML file. Every field has a default: an empty recipe is the demo."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compress.errors import CompressError

Shape = TypeVar("Shape", bound=BaseModel)
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Range = Annotated[tuple[Positive, Positive, Positive], Field(description="minimum, optimum, maximum")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _checked_heads(shape: Shape, heads: int, hidden_size: int) -> Shape:
    if hidden_size % heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of heads {heads}")
    return shape


class Fields(Section):
    """Names of the columns in the user's files."""

    text: str = "text"
    text_pair: str | None = None
    label: str = "label"
    lang: str | None = Field("lang", description="null: the rows carry no language")


class Data(Section):
    """Where the rows come from."""

    source: str = Field("cldr", description="cldr (built in), a folder, one file, or a data set name on the hub")
    configuration: str | None = Field(None, description="configuration name of a hub data set")
    train: str | None = Field(None, description="explicit file for the split, in place of `source`")
    validation: str | None = None
    test: str | None = None
    fields: Fields = Field(default_factory=Fields)
    languages: list[str] | None = Field(None, description="keep these languages only")
    max_length: Annotated[int, Field(ge=8, le=8192)] = Field(64, description="tokens of a row; longer rows are cut")

    @model_validator(mode="after")
    def _splits_come_together(self) -> Data:
        given = [name for name in ("train", "validation", "test") if getattr(self, name)]
        if given and len(given) < 3:
            raise ValueError(f"'{given[0]}' is given: train, validation and test must be given together")
        return self


class Training(Section):
    """One training: the defaults are the demo's teacher."""

    epochs: Annotated[float, Field(gt=0)] = 3
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1.2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Fraction = Field(0.1, description="share of the steps in which the learning rate rises")
    mask_probability: Fraction = Field(0.3, description="share of tokens replaced by the mask token, as regularisation")
    label_smoothing: Fraction = 0.0


class Scratch(Section):
    """A teacher without pretrained weights: ModernBERT with mean pooling and its own Unigram tokenizer."""

    vocabulary_size: Annotated[int, Field(ge=100)] = 4000
    longest_piece: Positive = Field(2, description="characters of a token at most")
    lowercase: bool = True
    layers: Positive = 3
    hidden_size: Positive = 192
    heads: Positive = 3
    feed_forward_size: Positive = 384
    dropout: Fraction = 0.0
    warm_up: Training | None = Field(None, description="masked-language training on the same text beforehand")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Scratch:
        return _checked_heads(self, self.heads, self.hidden_size)


class Teacher(Section):
    model: str | None = Field(None, description="folder or hub id; null: train one from scratch")
    fine_tune: bool = Field(True, description="false: take `model` as it is")
    trust_remote_code: bool = False
    scratch: Scratch = Scratch()
    training: Training = Training()


class Distillation(Section):
    """loss = alpha * hard + (1 - alpha) * soft + hidden_weight * hidden (Hinton et al., 2015; TinyBERT)."""

    alpha: Fraction = Field(0.1, description="balance: 1 is labels alone, 0 is the teacher alone")
    temperature: Annotated[float, Field(gt=0)] = 2.0
    hidden_weight: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the hidden states' mean squared error, through learned projections"
    )


class Student(Section):
    every_nth_layer: Positive | None = Field(None, description="copy every n-th teacher layer; the shape is ignored")
    layers: Positive = 2
    hidden_size: Positive = 96
    heads: Positive = 2
    feed_forward_size: Positive = 192
    distillation: Distillation = Distillation()
    training: Training = Training(epochs=6, learning_rate=3e-3, mask_probability=0.15)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Student:
        return _checked_heads(self, self.heads, self.hidden_size)


class Evaluation(Section):
    yardstick: bool = Field(False, description="also fit TF-IDF with logistic regression, for comparison")


class Profile(Section):
    """One TensorRT optimisation profile."""

    batch: Range = (1, 8, 32)
    length: Range = (1, 32, 64)

    @model_validator(mode="after")
    def _ordered(self) -> Profile:
        for name, (low, best, high) in (("batch", self.batch), ("length", self.length)):
            if not low <= best <= high:
                raise ValueError(f"{name} must be minimum <= optimum <= maximum, got {low}, {best}, {high}")
        return self


class TensorRT(Section):
    enabled: bool = False
    sm: Annotated[list[Positive], Field(min_length=1)] = Field(
        [80, 86, 89, 120], description="GPU generations of an ahead-of-time engine"
    )
    precision: Literal["fp16", "fp32"] = "fp16"
    profiles: Annotated[list[Profile], Field(min_length=1)] = [Profile()]


class Tolerance(Section):
    """What a variant may differ from its parent, on real rows."""

    max_difference: Annotated[float, Field(ge=0)]
    agreement: Fraction


class Parity(Section):
    rows: Positive = 500
    onnx: Tolerance = Tolerance(max_difference=1e-3, agreement=0.999)
    int8: Tolerance = Tolerance(max_difference=2.0, agreement=0.97)
    fp16: Tolerance = Tolerance(max_difference=0.1, agreement=0.99)


class Export(Section):
    target: Literal["auto", "cpu-avx2", "cpu-avx512", "cpu-vnni", "cpu-arm"] = "auto"
    parity: Parity = Parity()
    tensorrt: TensorRT = TensorRT()


class Bench(Section):
    rows: Positive = Field(200, description="rows of the latency measurement, drawn evenly over the languages")
    batch_sizes: Annotated[list[Positive], Field(min_length=1)] = [1, 8]
    threads: Positive | None = Field(1, description="of one model; null: every processor of this machine")
    rounds: Positive = Field(2, description="each variant is measured this many times, in turn with the others")


class Recipe(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "demo"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: Data = Data()
    teacher: Teacher = Teacher()
    student: Student = Student()
    evaluation: Evaluation = Evaluation()
    export: Export = Export()
    bench: Bench = Bench()


def load_recipe(path: Path | None, overrides: dict[str, Any] | None = None) -> Recipe:
    """Read and validate a recipe.

    :param path: YAML file; none for the defaults.
    :param overrides: Dotted field names with values that replace the file's, for example ``{"student.layers": 3}``.
    :return: The resolved recipe.
    :raises CompressError: With the file, the field's path and the nearest valid name.
    """
    place = str(path) if path else "recipe"
    content = _read_yaml(path) if path else {}
    for dotted, value in (overrides or {}).items():
        _set(content, dotted, value)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise CompressError(f"{place}: " + "; ".join(_explained(problem) for problem in error.errors())) from None


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe, every field named."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), "utf-8")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CompressError(f"{path}: no such recipe; name an existing YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CompressError(f"{path}: cannot be read as a recipe ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise CompressError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CompressError(f"{path}: a recipe is a mapping of fields, got {type(content).__name__}")
    return content


def _set(content: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        if not isinstance(content.get(parent), dict):
            content[parent] = {}
        content = content[parent]
    content[last] = value


def _explained(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    where = ".".join(location) or "recipe"
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {message[0].lower()}{message[1:]} (got {problem['input']!r})"
    names = list(_section_at(location[:-1]).model_fields)
    near = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"valid here: {', '.join(names)}"
    return f"{where}: unknown field; {hint}"


def _section_at(location: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Recipe
    for part in location:
        if not part.isdigit():
            section = next(_sections_in(section.model_fields[part].annotation))
    return section


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)
