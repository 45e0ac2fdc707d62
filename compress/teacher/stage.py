"""The teacher stage: a model trained from scratch, fine-tuned, or taken as it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from compress.console import say, working
from compress.data.encode import inputs_of, spread_over_languages
from compress.data.stage import DataSet, load_data, load_plain_text
from compress.data.summary import DATA
from compress.data.table import RowTable
from compress.models.build import scratch_config
from compress.models.checks import check_finite
from compress.models.describe import brought_model, head_names, summary_of, thresholds_of
from compress.models.encoder_decoder import translation_config
from compress.models.intake import Intake, check_teacher_knows, take_in
from compress.models.load import model_class, save_model, save_tokenizer
from compress.models.reranker import keep_activation
from compress.models.sentence_folder import take_over
from compress.models.source import fetch
from compress.models.tokenizers import train_tokenizer, unknown_shares
from compress.models.trial import try_teacher
from compress.models.vocabulary.anatomy import LanguageText
from compress.models.vocabulary.summary import TrimmingSummary
from compress.models.vocabulary.trim import trim_vocabulary
from compress.processes import is_main_process, wait_for_everyone
from compress.recipe.teacher import Scratch, Teacher
from compress.runs.directory import Run
from compress.runs.files import file_sha256
from compress.runs.stages import run_stage
from compress.runtimes.thresholds import tune_thresholds
from compress.tasks.contract import Task
from compress.tasks.registry import task_named
from compress.teacher.copies import check_copies
from compress.teacher.summary import TeacherSummary, source_stage
from compress.training.summary import TrainingSummary

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_SAMPLED_ROWS = 500  # of a language


def run_teacher_stage(run: Run) -> TeacherSummary:
    """Fill ``teacher/`` (``model/`` of what is exported as it is, ``initial/`` where a file has the predictions) with a
    ``save_pretrained`` folder."""
    teacher = run.recipe.teacher
    inputs = {
        **run.tokenisation,
        **teacher.model_dump(mode="json", exclude={"token", "predictions"}),
        "labelled_languages": run.recipe.data.labelled_languages,
        "seed": run.recipe.seed,
        "files": _fingerprints(teacher),
    }
    return run_stage(
        run,
        source_stage(run),
        inputs,
        (DATA.name,),
        lambda folder, scratch: _build(run, folder, scratch),
        parallel=True,
    )


def try_teacher_of(run: Run) -> None:
    """See in another process that the model which the recipe names can be opened, and splits the rows; before it is.

    :raises CompressError: If not; naming what is wrong with it.
    """
    recipe = run.recipe
    if recipe.teacher.model and is_main_process():
        rows = sorted(run.path_of(DATA.name).glob("*.jsonl"))
        try_teacher(recipe.task, recipe.teacher, load_data(run).labels, recipe.data.max_length, rows)


def _build(run: Run, folder: Path, scratch: Path) -> TeacherSummary:
    import torch

    torch.manual_seed(run.recipe.seed)
    teacher, data = run.recipe.teacher, load_data(run)
    texts = sampled_texts(run, data)
    intake: Intake | None = None
    trimming: TrimmingSummary | None = None
    if teacher.model:
        with working(f"{source_stage(run).name}: loading {teacher.model}"):
            try_teacher_of(run)
            taken = take_in(run.task, teacher, data.labels, run.recipe.data.max_length, texts)
        model, tokenizer, intake = taken.model, taken.tokenizer, taken.intake
    else:
        tokenizer, model = _from_scratch(run, data, scratch)
    if run.recipe.student.augmentation.copies:
        check_copies(tokenizer)
    if teacher.vocabulary.trim:
        with working(f"{source_stage(run).name}: trimming the vocabulary"):
            used = partial(read_texts, run, data.training_rows)
            held_out = partial(read_texts, run, data.splits["validation"])
            place = Path(mkdtemp(dir=scratch))  # each process of several needs its own
            tokenizer, trimming = trim_vocabulary(
                model, tokenizer, used, held_out, teacher.vocabulary, place, partial(load_plain_text, run)
            )
        _tell(source_stage(run).name, trimming)
    if trimming or not teacher.model:
        check_teacher_knows(unknown_shares(tokenizer, texts), teacher)
    shape = summary_of(model)
    name = source_stage(run).name
    say(f"{name}: {model.config.model_type} {shape.shape}, {shape.parameters / 1e6:.1f} million weights")
    training = _fine_tune(run, data, model, tokenizer, scratch) if teacher.is_trained else None
    check_finite("teacher", model, "lower teacher.training.learning_rate")
    if training:
        learnt = data.splits["train"].in_languages(run.recipe.data.labelled_languages)
        training = training.model_copy(update={"thresholds": tune_thresholds(run, model, tokenizer, learnt)})
    elif run.summary(DATA).labelled and not run.task.SEVERAL_LABELS and not thresholds_of(model.config):
        tune_thresholds(run, model, tokenizer, data.splits["validation"])  # several labels: one half, as others have it
    if run.task.VECTORS:
        take_over(model.config, run.recipe.data, teacher)
    if is_main_process():
        save_model(model, folder)
        save_tokenizer(tokenizer, folder)
    brought = brought_model(fetch(teacher).folder, trimming.tokens_before) if trimming and teacher.model else None
    return TeacherSummary(**dict(shape), intake=intake, vocabulary=trimming, brought=brought, training=training)


def sampled_texts(run: Run, data: DataSet) -> dict[str, list[str]]:
    """The text of a number of rows of each language, of all splits, that a tokenizer is tried on."""
    rows = RowTable.joined(list(data.splits.values()))
    languages = rows.column("lang")
    chosen = spread_over_languages(languages, len({*languages}) * _SAMPLED_ROWS, run.recipe.seed)
    return _texts(run.task, rows.select(chosen))


def _from_scratch(run: Run, data: DataSet, scratch: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    shape, max_length = run.recipe.teacher.scratch, run.recipe.data.max_length
    texts = [text for rows in _texts(run.task, data.training_rows).values() for text in rows]
    asking = run.task.asking_tokens({*data.training_rows.column("lang").tolist()}) if run.task.GENERATES else None
    tokenizer = train_tokenizer(texts, shape.tokenizer, max_length, asking)
    say(f"{source_stage(run).name}: trained a tokenizer with {len(tokenizer):,} tokens")
    if run.task.GENERATES:
        config = translation_config(shape, tokenizer, max_length)
    else:
        config = scratch_config(shape, tokenizer, head_names(run.task, data.labels), max_length)
        config.problem_type = run.task.PROBLEM_TYPE
        if run.task.RANKS:
            keep_activation(config, "sigmoid")
    if shape.pretraining is None:
        return tokenizer, model_class(run.task).from_config(config)
    warmed = _pretrain(run, data, shape, config, tokenizer, scratch)
    return tokenizer, model_class(run.task).from_pretrained(warmed, config=config, use_safetensors=True)


def _pretrain(
    run: Run,
    data: DataSet,
    shape: Scratch,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    scratch: Path,
) -> Path:
    """Masked-language training on the rows' own text; the finished model is kept for a resumed stage."""
    from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling

    from compress.training.rows import training_data
    from compress.training.trainer import TrainingJob, train

    finished = scratch / "pretrained-model"
    if finished.is_dir():
        return finished
    assert shape.pretraining is not None
    model = AutoModelForMaskedLM.from_config(config)
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=shape.pretraining.mask_probability)
    encode = run.task.encoder(tokenizer, run.recipe.data, data.labels)
    job = TrainingJob(
        title="pre-training",
        task=task_named("token-classification"),  # a hidden token is the label of its place
        data=training_data(data.splits["train"], data.splits["validation"], encode, scratch / "pretraining-rows"),
        settings=shape.pretraining,
        seed=run.recipe.seed,
        scratch=scratch / "pretraining",
        logs=run.folder / "logs" / "pretraining",
        collate=lambda batch: collate([inputs_of(example) for example in batch]),
        by_accuracy=False,
    )
    train(model, job)
    if is_main_process():
        model.save_pretrained(scratch / "pretrained-model.partial")
        (scratch / "pretrained-model.partial").rename(finished)
    wait_for_everyone()
    return finished


def _fine_tune(
    run: Run, data: DataSet, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, scratch: Path
) -> TrainingSummary:
    from compress.training.collator import Collator
    from compress.training.rows import training_data
    from compress.training.trainer import TrainingJob, train

    recipe = run.recipe
    rows = [data.labelled(split, recipe.data.labelled_languages) for split in ("train", "validation")]
    settings = recipe.teacher.training
    encode = run.task.encoder(tokenizer, recipe.data, data.labels)
    job = TrainingJob(
        title="teacher",
        task=run.task,
        data=training_data(rows[0], rows[1], encode, scratch / "rows"),
        settings=settings,
        seed=recipe.seed,
        scratch=scratch / "training",
        logs=run.folder / "logs" / "teacher",
        collate=Collator(tokenizer, settings.mask_probability, recipe.seed),
        by_accuracy=run.task.BEST_EPOCH == "accuracy",
        special=tokenizer.all_special_ids,
    )
    return train(model, job)


def _texts(task: Task, rows: RowTable) -> dict[str, list[str]]:
    """The text of each language, in their order."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(row.lang, []).extend(task.texts(row))
    return dict(sorted(texts.items()))


def read_texts(run: Run, rows: RowTable) -> Iterator[LanguageText]:
    """What the teacher reads and writes, text by text, each with its language."""
    for row in rows:
        languages, texts = run.task.languages_in(row.lang), run.task.texts(row)
        yield from ((languages[0], text) for text in run.task.read_before(run.recipe.data, row.lang))
        yield from zip(languages if len(languages) == len(texts) else [row.lang] * len(texts), texts, strict=True)


def _tell(stage: str, trimming: TrimmingSummary) -> None:
    """Say what trimming has done, and what is lost in the worst language: of the validation rows, if there are any."""
    held_out = {language: text.lost_share for language, text in trimming.held_out.items()}
    lost = held_out or {language: text.expected_share for language, text in trimming.used.items()}
    worst = max(lost, key=lambda language: lost[language])
    say(
        f"{stage}: vocabulary trimmed from {trimming.tokens_before:,} to {trimming.tokens_after:,} tokens, "
        f"{trimming.saved_megabytes} MB saved; of {'the validation' if held_out else 'new'} rows' tokens at most "
        f"{100 * lost[worst]:.2f} % are lost, in {worst}"
    )


def _fingerprints(teacher: Teacher) -> dict[str, str]:
    """Hashes of the files of a teacher from elsewhere, so that another one under the same name is noticed."""
    if teacher.model is None:
        return {}
    folder = fetch(teacher).folder
    files = sorted(path for pattern in ("*", "[0-9]*_*/*") for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
