"""The shapes that a student may have: parts of its teacher's depth and width, what each can begin from, static ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from bench.fit.report import FitCandidate, FitWeights
from compress.data.stage import DataSet, load_plain_text
from compress.errors import CompressError
from compress.models.build import feed_forward_size, student_config
from compress.models.describe import embeddings_of
from compress.models.load import load_config, load_tokenizer, model_class
from compress.models.pruning import can_be_pruned
from compress.models.sentence_folder import has_head, head_of
from compress.models.vocabulary.anatomy import anatomy_of, count_tokens, total_of
from compress.recipe.recipe import Recipe
from compress.recipe.student import Initialization, Student, static_student_of
from compress.runs.directory import Run
from compress.tasks.contract import Task, refuses
from compress.teacher.pool import build_pool
from compress.teacher.signals import Shape, check_comparable
from compress.teacher.stage import read_texts
from compress.teacher.summary import TEACHER

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_DEPTHS = (1, 3 / 2, 2, 3, 4, 6, 12)
_WIDTHS = (1, 3 / 2, 2, 3, 4)
_FEED_FORWARDS = (1, 2)
_MOST_WHOLE_LAYERS = 4  # of a teacher that is as shallow, a narrower student may be as deep
_VOCABULARIES = (1, 2, 4)  # parts of the tokens that the rows use
_FEWEST_TOKENS, _NEARLY_ALL = 1000, 0.8
_OF_STATIC: Initialization = "embeddings"
_SHAPE = (
    "vocabulary_size",
    "every_nth_layer",
    "layers",
    "decoder_layers",
    "hidden_size",
    "heads",
    "feed_forward_size",
    "initialization",
)


def candidates_of(run: Run, used_tokens: int) -> dict[FitCandidate, FitWeights]:
    """The students that the run's teacher could have, and how many weights each has.

    :param used_tokens: How many of the teacher's tokens the rows use.
    :raises CompressError: If there is none, saying why.
    """
    config = load_config(run.path_of(TEACHER.name), run.trusts_code)
    found: dict[FitCandidate, FitWeights] = {}
    problem: CompressError | None = None
    tokens_before = len(embeddings_of(_without_weights(run, config)))
    for shape in chain(_shapes(run, config), _statics(run)):
        for tokens in _vocabularies(run, shape, tokens_before, used_tokens):
            candidate = shape.model_copy(update={"tokens": tokens})
            try:
                found[candidate] = _weights(run, config, candidate)
            except CompressError as error:
                problem = error
    if problem and all(one.is_static for one in found):  # no shape can learn what the recipe asks for
        raise problem
    if not found:
        raise CompressError("fit: the teacher is as small as can be; there is no smaller student")
    return found


def used_tokens(run: Run, data: DataSet) -> int:
    """How many of the teacher's tokens the rows use that a student learns from."""
    anatomy = anatomy_of(load_tokenizer(run.path_of(TEACHER.name), run.trusts_code))
    texts = read_texts(run, build_pool(data, run.recipe).texts)
    counts = count_tokens(anatomy, chain(texts, load_plain_text(run)))
    return int((total_of(counts).tokens > 0).sum())


def _shapes(run: Run, config: PreTrainedConfig) -> Iterator[FitCandidate]:
    """Parts of the teacher's depth and width, but for the teacher itself."""
    teacher, initialization = run.summary(TEACHER), _initialization(run, config)
    width, feed_forward = teacher.width // teacher.heads, feed_forward_size(config)
    for layers in _parts(teacher.layers, _DEPTHS):
        if layers == teacher.layers > _MOST_WHOLE_LAYERS:
            continue
        for heads in _parts(teacher.heads, _WIDTHS):
            for part in _FEED_FORWARDS:
                whole = heads == teacher.heads and part == 1
                if layers == teacher.layers and whole:
                    continue
                wide = max(8, int(feed_forward * heads / teacher.heads / part) // 8 * 8)
                copied = whole and initialization != "random"
                yield FitCandidate(
                    layers=layers,
                    hidden_size=teacher.width if whole else heads * width,
                    heads=heads,
                    feed_forward_size=feed_forward if whole else wide,
                    every_nth_layer=_every_nth(teacher.layers, layers) if copied else None,
                    initialization=initialization,
                )


def _statics(run: Run) -> Iterator[FitCandidate]:
    """Tables of token vectors, the far end of all that is small and fast; all of a length where one alone can be."""
    student = run.recipe.student
    if not has_static(run.task) or student.tokenizer:  # their vectors are of the teacher's tokens
        return
    longest = longest_static(run)
    dense = run.task.VECTORS and student.distillation.vectors.projection == "dense"
    for numbers in [longest] if dense else _parts(longest, _WIDTHS):
        yield FitCandidate(layers=0, hidden_size=numbers, heads=1, feed_forward_size=0, initialization=_OF_STATIC)


def _vocabularies(run: Run, shape: FitCandidate, tokens: int, used: int) -> list[int | None]:
    """All of the teacher's tokens, those that the rows use, and parts of these, where the student may have fewer.

    Where plain text says which tokens are kept, none has all.
    """
    student = student_of(shape, run.recipe.student)
    own = student.tokenizer or student.vocabulary_size or student.distillation.token_signals
    if own or refuses(run.task, "student.vocabulary_size", ""):
        return [None]
    fewer = [used // part for part in _VOCABULARIES]
    fewer = [size for size in fewer if _FEWEST_TOKENS <= size < _NEARLY_ALL * tokens]
    if run.recipe.data.plain_text and run.recipe.keeps_all_tokens:
        return [*fewer] if fewer else [used]
    return [None, *fewer]


def has_static(task: Task) -> bool:
    """Whether a task may have static students."""
    return not refuses(task, "student.kind", "static")


def longest_static(run: Run) -> int:
    """How many numbers the vectors of a static student of the run's teacher may have."""
    config, width = load_config(run.path_of(TEACHER.name), run.trusts_code), run.summary(TEACHER).width
    return head_of(config).dimensions(width) if has_head(config) else width


def student_of(candidate: FitCandidate, student: Student) -> Student:
    """The recipe's student in a candidate's shape."""
    tokens = candidate.tokens or student.vocabulary_size
    if candidate.is_static:
        return static_student_of(student, candidate.hidden_size).model_copy(update={"vocabulary_size": tokens})
    told = {name: value for name, value in student.model_dump().items() if name not in _SHAPE}
    told["vocabulary_size"] = tokens
    if candidate.every_nth_layer:
        return Student.model_validate({**told, "every_nth_layer": candidate.every_nth_layer})
    shape = candidate.model_dump(include={"layers", "hidden_size", "heads", "feed_forward_size", "initialization"})
    return Student.model_validate({**told, **shape})


def recipe_of(candidate: FitCandidate, recipe: Recipe) -> Recipe:
    """The recipe whose student is a candidate."""
    return recipe.model_copy(update={"student": student_of(candidate, recipe.student)})


def _initialization(run: Run, config: PreTrainedConfig) -> Initialization:
    """What narrower students begin from: as the recipe says, or what is cut out of the teacher, where it can be."""
    wanted = run.recipe.student.initialization
    if wanted != Student.model_fields["initialization"].default:
        return wanted
    model = _without_weights(run, config)
    return "svd" if can_be_pruned(model.base_model if run.task.VECTORS else model) else wanted


def _weights(run: Run, config: PreTrainedConfig, candidate: FitCandidate) -> FitWeights:
    """Numbers of weights of a candidate.

    :raises CompressError: If the architecture, or what it is to learn from its teacher, does not allow this shape.
    """
    teacher, student = run.summary(TEACHER), student_of(candidate, run.recipe.student)
    own = Shape(candidate.layers, candidate.hidden_size, candidate.heads)
    check_comparable(student.distillation, own, Shape(teacher.layers, teacher.width, teacher.heads))
    model = _without_weights(run, student_config(config, student))
    embeddings, total = embeddings_of(model), sum(weight.numel() for weight in model.parameters())
    tokens = len(embeddings)
    if student.tokenizer:
        tokens = student.tokenizer.vocabulary_size
    elif student.vocabulary_size:
        tokens = min(tokens, student.vocabulary_size)
    return FitWeights(embeddings=tokens * candidate.hidden_size, others=total - embeddings.numel())


def _without_weights(run: Run, config: PreTrainedConfig) -> PreTrainedModel:
    """A model of which the shapes of the weights are known, and nothing else."""
    import torch

    try:
        with torch.device("meta"):
            model: PreTrainedModel = model_class(run.task).from_config(config, trust_remote_code=run.trusts_code)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise CompressError(f"fit: {config.model_type} cannot have this shape ({error})") from error
    return model


def _parts(whole: int, parts: Sequence[float]) -> list[int]:
    return sorted({max(1, round(whole / part)) for part in parts})


def _every_nth(depth: int, layers: int) -> int | None:
    """Which layers are copied, where so many are some that lie evenly apart."""
    step = depth // layers
    return step if depth // step == layers else None


def by_size(weights: Mapping[FitCandidate, FitWeights]) -> list[FitCandidate]:
    """The candidates with the fewest weights first."""
    return sorted(weights, key=lambda candidate: weights[candidate].embeddings + weights[candidate].others)
