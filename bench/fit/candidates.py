"""The shapes that a student may have: parts of its teacher's depth and width, and what each can begin from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.fit.report import FitCandidate, FitWeights
from compress.errors import CompressError
from compress.models.build import feed_forward_size, student_config
from compress.models.describe import embeddings_of
from compress.models.load import load_config, model_class
from compress.models.pruning import can_be_pruned
from compress.recipe.recipe import Recipe
from compress.recipe.student import Initialization, Student
from compress.runs.directory import Run
from compress.teacher.signals import Shape, check_comparable
from compress.teacher.summary import TEACHER

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_DEPTHS = (1, 3 / 2, 2, 3, 4, 6, 12)
_WIDTHS = (1, 3 / 2, 2, 3, 4)
_FEED_FORWARDS = (1, 2)
_MOST_WHOLE_LAYERS = 4  # of a teacher that is as shallow, a narrower student may be as deep
_SHAPE = ("every_nth_layer", "layers", "decoder_layers", "hidden_size", "heads", "feed_forward_size", "initialization")


def candidates_of(run: Run) -> dict[FitCandidate, FitWeights]:
    """The students that the run's teacher could have, and how many weights each has.

    :raises CompressError: If there is none, saying why.
    """
    teacher = run.summary(TEACHER)
    config = load_config(run.path_of(TEACHER.name), run.trusts_code)
    width, feed_forward = teacher.width // teacher.heads, feed_forward_size(config)
    initialization = _initialization(run, config)
    found: dict[FitCandidate, FitWeights] = {}
    problem: CompressError | None = None
    for layers in _parts(teacher.layers, _DEPTHS):
        if layers == teacher.layers > _MOST_WHOLE_LAYERS:
            continue
        for heads in _parts(teacher.heads, _WIDTHS):
            for part in _FEED_FORWARDS:
                wide = max(8, int(feed_forward * heads / teacher.heads / part) // 8 * 8)
                whole = heads == teacher.heads and part == 1
                candidate = FitCandidate(
                    layers=layers,
                    hidden_size=heads * width if not whole else teacher.width,
                    heads=heads,
                    feed_forward_size=feed_forward if whole else wide,
                    every_nth_layer=_every_nth(teacher.layers, layers)
                    if whole and initialization != "random"
                    else None,
                    initialization=initialization,
                )
                if layers == teacher.layers and whole:
                    continue  # the teacher itself
                try:
                    found[candidate] = _weights(run, config, candidate)
                except CompressError as error:
                    problem = error
    if not found:
        raise problem or CompressError("fit: the teacher is as small as can be; there is no smaller student")
    return found


def student_of(candidate: FitCandidate, student: Student) -> Student:
    """The recipe's student in a candidate's shape."""
    told = {name: value for name, value in student.model_dump().items() if name not in (*_SHAPE, "seeds")}
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
    return "svd" if can_be_pruned(_without_weights(run, config)) else wanted


def _weights(run: Run, config: PreTrainedConfig, candidate: FitCandidate) -> FitWeights:
    """Numbers of weights of a candidate.

    :raises CompressError: If the architecture, or what it is to learn from its teacher, does not allow this shape.
    """
    teacher, student = run.summary(TEACHER), student_of(candidate, run.recipe.student)
    own = Shape(candidate.layers, candidate.hidden_size, candidate.heads)
    check_comparable(student.distillation, own, Shape(teacher.layers, teacher.width, teacher.heads))
    model = _without_weights(run, student_config(config, student))
    embeddings, total = embeddings_of(model), sum(weight.numel() for weight in model.parameters())
    tokens = student.tokenizer.vocabulary_size if student.tokenizer else len(embeddings)
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
