"""Opening a model to try it, whatever names it: a bundle, a run, a model's folder or hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.models.source import Source
from compress.recipe.teacher import Teacher
from compress.runs.directory import find_run
from compress.runtimes.contract import Predict
from compress.runtimes.predict import load_predict, runtime_of
from compress.serving.client import Model, open_model
from compress.serving.format import MANIFEST, Description, description_of
from compress.student.summary import exported_name
from compress.tasks.contract import Prediction
from compress.tasks.registry import TaskName
from compress.tasks.rows import Row
from compress.tasks.texts import TEXT
from compress.teacher.summary import INITIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

_OF_A_MODEL = ("revision", "subfolder", "token", "trust_remote_code")


class ModelFromElsewhere(Model):
    """A model with a tokenizer that is tried on the texts which it is asked about, as those of runs were on theirs."""

    def __init__(self, source: Source, description: Description, tokenizer: PreTrainedTokenizerBase, predict: Predict):
        super().__init__(Path(source), description, opened=(tokenizer, predict))
        self._source = source

    def outputs(self, rows: Sequence[Row]) -> tuple[list[NDArray[Any]], list[Prediction]]:
        """:raises CompressError: As those of `Model`, or if the tokenizer splits the texts otherwise than its file."""
        from compress.models.intake import check_tokenizer

        texts = [text for row in rows for text in self._task.texts(row)]
        check_tokenizer(self._source, self._tokenizer, {"these texts": texts})
        return super().outputs(rows)


def open_to_try(
    named: Path | Teacher, variant: str | None = None, task: TaskName | None = None, *, pairs: bool = False
) -> Model:
    """Open the model that the user names.

    :param named: A bundle's folder, a run directory, or a model's folder or hub id; with how that is reached.
    :param variant: Which model of a bundle or run; none: the first that can run here, or what the run exports.
    :param task: What a model of neither is for, where its configuration does not tell.
    :param pairs: Whether a model of neither is asked about pairs of texts.
    :raises CompressError: If there is no such model, or it cannot run here.
    """
    settings = named if isinstance(named, Teacher) else Teacher(model=str(named), fine_tune=False)
    folder = Path(settings.model or "")
    is_run, is_bundle = (folder / "recipe.yaml").is_file(), (folder / MANIFEST).is_file()
    if is_run or is_bundle:
        usual = Teacher.model_construct()
        given = [name for name in _OF_A_MODEL if getattr(settings, name) != getattr(usual, name)]
        if options := [*(["task"] if task else []), *given]:
            raise CompressError(f"--{options[0].replace('_', '-')}: {folder} tells that of its models; leave it out")
    if is_run:
        return _of_run(folder, variant)
    if is_bundle:
        return open_model(folder, variant)
    if variant:
        raise CompressError(f"--variant {variant}: {folder} is one model; leave it out")
    return _of_model(settings, task, pairs)


def _of_run(folder: Path, variant: str | None) -> Model:
    from compress.data.stage import load_labels
    from compress.models.describe import thresholds_in
    from compress.models.load import load_tokenizer
    from compress.models.reranker import activation_in
    from compress.runtimes.generation import Search

    run = find_run(folder, folder)
    name = variant or exported_name(run)
    models = [stage for stage in run.manifest.stages if stage != INITIAL.name]  # which was trained for nothing
    if name not in models:
        made = ", ".join(stage for stage in models if (run.folder / stage / "config.json").is_file())
        raise CompressError(f"--variant {name}: {folder} has no such model; it has {made or 'none yet'}")
    path = run.current(name)
    runtime, opened = runtime_of(path), None
    if runtime == "PyTorch":
        predict = load_predict(path, run.task, Search.of(run.recipe), trust_remote_code=run.trusts_code)
        opened = (load_tokenizer(path, run.trusts_code), predict)
    described = description_of(
        run.recipe,
        load_labels(run),
        thresholds_in(path),
        activation=activation_in(path),
        name=name,
        runtime=runtime,
    )
    return Model(path, described, opened=opened)


def _of_model(settings: Teacher, task: TaskName | None, pairs: bool) -> Model:
    from compress.models.describe import label_names, thresholds_of
    from compress.models.load import load_config, load_teacher
    from compress.models.reranker import activation_of
    from compress.models.sentence_folder import head_of
    from compress.models.source import fetch
    from compress.models.taken import readable_tokens, task_of
    from compress.models.trial import try_tokenizer
    from compress.runtimes.generation import Search, generator_with
    from compress.runtimes.pytorch import predict_with
    from compress.tasks.contract import refuses
    from compress.tasks.registry import task_named

    source = fetch(settings)
    config = load_config(source, settings.trust_remote_code)
    found = task or task_of(source, config)
    module = task_named(found)
    labels = [] if refuses(module, "data.label_names", "") else label_names(str(source), config)
    try_tokenizer(settings)
    max_length = readable_tokens(found, settings)
    loaded, tokenizer = load_teacher(module, settings, labels, max_length)
    head = head_of(loaded.config) if module.VECTORS else None
    description = Description(
        name=Path(str(source)).name,
        task=found,
        labels=labels,
        runtime="PyTorch",
        target="any",
        pairs="text_pair" in module.FIELDS or (pairs and module.FIELDS["text"] == TEXT and not module.VECTORS),
        max_length=max_length,
        thresholds=thresholds_of(loaded.config),
        activation=activation_of(loaded.config) if module.RANKS else None,
        prompts=head.prompts if head else None,
        default_prompt=head.default_prompt if head and head.default_prompt in head.prompts else None,
        similarity=(head.similarity or "cosine") if head else None,
    )
    search = Search(description.beams, description.length_penalty, max_length)
    predict = generator_with(loaded, search) if module.GENERATES else predict_with(loaded, module)
    return ModelFromElsewhere(source, description, tokenizer, predict)
