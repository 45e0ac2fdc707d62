"""Opening a model to try it, whatever names it: a bundle, a run, a model's folder or hub id."""

from __future__ import annotations

from pathlib import Path

from compress.errors import CompressError
from compress.runs.directory import find_run
from compress.runtimes.predict import load_predict, runtime_of
from compress.serving.client import Model, open_model
from compress.serving.format import MANIFEST, Description, description_of
from compress.student.summary import exported_name
from compress.tasks.registry import TaskName
from compress.teacher.summary import INITIAL


def open_to_try(named: Path, variant: str | None = None, task: TaskName | None = None) -> Model:
    """Open the model that the user names.

    :param named: A bundle's folder, a run directory, or a model's folder or hub id.
    :param variant: Which model of a bundle or run; none: the first that can run here, or what the run exports.
    :param task: What a model of neither is for, where its configuration does not tell.
    :raises CompressError: If there is no such model, or it cannot run here.
    """
    is_run, is_bundle = (named / "recipe.yaml").is_file(), (named / MANIFEST).is_file()
    if task and (is_run or is_bundle):
        raise CompressError(f"--task: {named} tells what it is for; leave it out")
    if is_run:
        return _of_run(named, variant)
    if is_bundle:
        return open_model(named, variant)
    if variant:
        raise CompressError(f"--variant {variant}: {named} is one model; leave it out")
    return _of_model(str(named), task)


def _of_run(folder: Path, variant: str | None) -> Model:
    from compress.data.stage import load_labels
    from compress.models.describe import thresholds_in
    from compress.models.load import load_tokenizer
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
    described = description_of(run.recipe, load_labels(run), thresholds_in(path), name=name, runtime=runtime)
    return Model(path, described, opened=opened)


def _of_model(model: str, task: TaskName | None) -> Model:
    from compress.models.describe import label_names, thresholds_of
    from compress.models.load import load_config, load_teacher
    from compress.models.sentence_folder import head_of
    from compress.models.source import fetch
    from compress.models.taken import readable_tokens, task_of
    from compress.models.trial import try_tokenizer
    from compress.recipe.teacher import Teacher
    from compress.runtimes.generation import Search, generator_with
    from compress.runtimes.pytorch import predict_with
    from compress.tasks.contract import refuses
    from compress.tasks.registry import task_named

    settings = Teacher(model=model, fine_tune=False)
    config = load_config(fetch(settings))
    found = task or task_of(fetch(settings), config)
    module = task_named(found)
    labels = [] if refuses(module, "data.label_names", "") else label_names(model, config)
    try_tokenizer(settings)
    max_length = readable_tokens(found, settings)
    loaded, tokenizer = load_teacher(module, settings, labels, max_length)
    head = head_of(loaded.config) if module.VECTORS else None
    description = Description(
        name=Path(model).name,
        task=found,
        labels=labels,
        runtime="PyTorch",
        target="any",
        pairs="text_pair" in module.FIELDS,
        max_length=max_length,
        thresholds=thresholds_of(loaded.config),
        prompts=head.prompts if head else None,
        default_prompt=head.default_prompt if head and head.default_prompt in head.prompts else None,
        similarity=(head.similarity or "cosine") if head else None,
    )
    search = Search(description.beams, description.length_penalty, max_length)
    predict = generator_with(loaded, search) if module.GENERATES else predict_with(loaded, module)
    return Model(Path(model), description, opened=(tokenizer, predict))
