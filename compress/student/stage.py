"""The student stage: its rows, its first weights, and its training on what the teacher said."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from compress.console import progress, say
from compress.data.batches import batches_by_length
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet, load_plain_text
from compress.data.summary import DATA
from compress.data.table import RowTable
from compress.metrics.ranking import query_numbers
from compress.models.build import build_student, exchange_tokenizer, kept_layers
from compress.models.checks import check_finite
from compress.models.describe import summary_of
from compress.models.intake import check_known
from compress.models.load import load_model, load_tokenizer, save_model, save_tokenizer
from compress.models.outputs import outputs_of
from compress.models.pruning import prune
from compress.models.sentence_folder import head_of
from compress.models.tokenizers import train_tokenizer, unknown_shares
from compress.models.vocabulary.summary import TrimmingSummary
from compress.models.vocabulary.trim import trim_vocabulary
from compress.processes import is_main_process
from compress.recipe.teacher import Vocabulary
from compress.recipe.training import NewTokenizer
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.runtimes.thresholds import tune_thresholds
from compress.student.dense import fit_dense
from compress.student.distillation import Companion, DistillationCollator, DistillationTrainer
from compress.student.rows import ChosenRows, choose_rows, labelled_rows
from compress.student.seeds import best_of_seeds
from compress.student.static import fill_table, tokens_read, write_model2vec
from compress.student.summary import STUDENT, StudentSummary
from compress.student.vectors import VectorTargets, vector_targets
from compress.teacher.outputs import load_cache
from compress.teacher.pool import Pool, build_pool, validation_pool
from compress.teacher.sequences import load_student_data, wanted_stages
from compress.teacher.signals import SignalPlan, mapped_layers, plan_signals, prepare
from compress.teacher.stage import read_texts, sampled_texts
from compress.teacher.store import TeacherOutputs
from compress.teacher.summary import CACHE, source_stage
from compress.training.collator import Collator
from compress.training.losses import hard_loss
from compress.training.rows import TrainingData, training_data
from compress.training.trainer import TrainingJob, last_whole_checkpoint, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_REFERENCES = 8192
_SAMPLE_ROWS = 512
_SAMPLE_BATCH = 32


def run_student_stage(run: Run) -> StudentSummary:
    """Fill ``student/`` with a ``save_pretrained`` folder, distilled from the teacher."""

    def one(seeded: Run, folder: Path, scratch: Path, title: str) -> StudentSummary:
        return distil(seeded, folder, scratch, trial=TrialTraining(title))

    if run.recipe.student.seeds > 1:
        return _run_stage(run, lambda folder, scratch: best_of_seeds(run, folder, scratch, one))
    return _run_stage(run, lambda folder, scratch: distil(run, folder, scratch))


def adopt_student(run: Run, student: Path, summary: StudentSummary) -> StudentSummary:
    """Fill ``student/`` with what `distil` has made of the same run elsewhere, as if it had been made there."""

    def build(folder: Path, _: Path) -> StudentSummary:
        shutil.copytree(student, folder, dirs_exist_ok=True)
        return summary

    return _run_stage(run, build)


def _run_stage(run: Run, build: Callable[[Path, Path], StudentSummary]) -> StudentSummary:
    inputs = {
        **run.tokenisation,
        **run.recipe.student.model_dump(mode="json", exclude={"cache"}),
        "labelled_languages": run.recipe.data.labelled_languages,
        "seed": run.recipe.seed,
    }
    parents = (DATA.name, source_stage(run).name, *wanted_stages(run), CACHE.name)
    return run_stage(run, STUDENT, inputs, parents, build, parallel=True)


@dataclass(frozen=True)
class TrialTraining:
    """The training of one of several students, called by a title, that ends after some of its epochs (none: after all);
    what it has come to lies in its scratch folder, and it can go on from there."""

    title: str
    until: int | None = None


_WHOLE = TrialTraining("student")


def distil(run: Run, folder: Path, scratch: Path, trial: TrialTraining = _WHOLE) -> StudentSummary:
    """Fill a folder with a student that learned from the run's teacher.

    :param scratch: Survives an interruption.
    :param trial: What else than the run's student is trained; left out: that student.
    """
    torch.manual_seed(run.recipe.seed)
    data, student = load_student_data(run), run.recipe.student
    pool, outputs = build_pool(data, run.recipe), load_cache(run)
    if run.task.SINGLE_LABEL:
        chosen = choose_rows(pool, outputs.logits(), data, student.rows, run.recipe.data.labelled_languages)
    else:
        chosen = labelled_rows(pool, run.recipe.data.labelled_languages)
    say(f"{trial.title}: {chosen.counts.told}")
    teacher = load_model(run.task, run.path_of(source_stage(run).name), data.labels, run.trusts_code)
    trimming: TrimmingSummary | None = None
    begun = last_whole_checkpoint(scratch / "training") is not None
    model, tokenizer = _first_student(run, teacher, data, pool, chosen, pruned=not begun)
    if student.vocabulary_size:
        scratch.mkdir(parents=True, exist_ok=True)
        place = Path(mkdtemp(dir=scratch))  # each process of several needs its own
        tokenizer, trimming = fewer_tokens(run, (data, pool), model, tokenizer, place)
        say(f"{trial.title}: {trimming.tokens_after:,} of the teacher's {trimming.tokens_before:,} tokens")
    targets = _targets(run, model, outputs, trial.title)
    if student.kind == "static":
        theirs = load_tokenizer(run.path_of(source_stage(run).name), run.trusts_code)
        encode = run.task.encoder(tokenizer, run.recipe.data, data.labels)
        on = targets if run.task.VECTORS else None
        fill_table(None if begun else teacher, model, (theirs, tokenizer), tokens_read(encode, pool.rows), on)
    plan = plan_signals(student.distillation, model.config.num_hidden_layers, teacher.config.num_hidden_layers)
    usual_attention = model.config._attn_implementation
    prepare(model, plan.student)
    rows = _training_data(run, data, pool, chosen, tokenizer, outputs, scratch / "rows")
    if run.task.VECTORS:
        targets = targets.compared_with(_references(run, rows, outputs))
    languages = sorted(set(rows.train_languages))
    own, teacher_config = model.config, teacher.config
    model.companion = Companion(
        plan, own.hidden_size, teacher_config.hidden_size, own.num_attention_heads, len(languages)
    )
    del teacher
    shape = summary_of(model)
    say(f"{trial.title}: {model.config.model_type} {shape.shape}, {shape.parameters / 1e6:.2f} million weights")
    job = _job(run, tokenizer, (rows, plan, outputs, targets), scratch, trial)
    if run.task.VECTORS and not begun:
        fit_dense(model, head_of(teacher_config), rows, job.collate, run.recipe.seed)
    training = train(model, job)
    learnt = data.splits["train"].in_languages(run.recipe.data.labelled_languages)
    training = training.model_copy(update={"thresholds": tune_thresholds(run, model, tokenizer, learnt)})
    check_finite("student", model, "lower student.training.learning_rate")
    weights = None
    if student.distillation.group_dro:
        last = model.companion.language_log_weights.exp().tolist()
        weights = {name: round(weight, 4) for name, weight in zip(languages, last, strict=True)}
    del model.companion
    if is_main_process():
        model.set_attn_implementation(usual_attention)
        save_model(model, folder)
        save_tokenizer(tokenizer, folder)
        if student.kind == "static" and tokenizer.is_fast:
            write_model2vec(model, tokenizer, run.recipe.data.max_length, folder)
    told = {"rows": chosen.counts, "vocabulary": trimming, "training": training, "language_weights": weights}
    return StudentSummary(**dict(shape), **told)


def _first_student(
    run: Run, teacher: PreTrainedModel, data: DataSet, pool: Pool, chosen: ChosenRows, *, pruned: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The untrained student and its tokenizer.

    :param pruned: Weights are cut out of the teacher where the recipe says so; those of a checkpoint take their place.
    """
    student = run.recipe.student
    tokenizer = load_tokenizer(run.path_of(source_stage(run).name), run.trusts_code)
    model = build_student(teacher, student)
    if pruned and student.is_cut:
        any_way = torch.Generator().manual_seed(run.recipe.seed)

        def loss(_: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            inputs = {name: values for name, values in batch.items() if name != "labels"}
            inputs = run.task.model_inputs(teacher.config, inputs, batch["labels"])
            outputs = outputs_of(teacher(**inputs), run.task.OUTPUTS)
            if run.task.VECTORS:  # what changes a vector matters, whichever way
                return (outputs * torch.randn(outputs.shape, generator=any_way)).sum()
            return hard_loss(run.task.positions(outputs, batch["attention_mask"]), batch["labels"]).mean()

        depth = teacher.config.num_hidden_layers
        kept = (
            kept_layers(depth, student.every_nth_layer)
            if student.every_nth_layer
            else [layer - 1 for layer in mapped_layers("uniform", student.layers, depth)]
        )
        with progress() as bar:
            task = bar.add_task("weighing the teacher's parts", total=min(_SAMPLE_ROWS, len(chosen.indices)))
            batches = _sample(run, data, pool, chosen, tokenizer)
            whole, part = (
                cast("PreTrainedModel", one.base_model) if run.task.VECTORS else one for one in (teacher, model)
            )
            prune(whole, part, kept, batches, loss, student.initialization, lambda rows: bar.advance(task, rows))
    if student.tokenizer is None:
        return model, tokenizer
    own = own_tokenizer(run, pool, student.tokenizer)
    learned = set(pool.rows.column("lang"))
    sample = {language: some for language, some in sampled_texts(run, data).items() if language in learned}
    mend = "raise student.tokenizer.vocabulary_size, or let student.tokenizer.model be byte-level"
    check_known("student", unknown_shares(own, sample), mend)
    return exchange_tokenizer(model, tokenizer, own), own


def own_tokenizer(run: Run, pool: Pool, settings: NewTokenizer) -> PreTrainedTokenizerBase:
    """The tokenizer that a student is given on the text of its rows."""
    texts = [text for row in pool.texts for text in run.task.texts(row)]
    own = train_tokenizer(texts, settings, run.recipe.data.max_length)
    say(f"student: trained a tokenizer with {len(own):,} tokens")
    return own


def fewer_tokens(
    run: Run, rows: tuple[DataSet, Pool], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> tuple[PreTrainedTokenizerBase, TrimmingSummary]:
    """Leave a student as many of its teacher's tokens as the recipe says, those first that its rows use most.

    :param model: It is changed, not copied.
    :param folder: Where the tokenizer may go on reading from.
    """
    data, pool = rows
    used, held_out = (partial(read_texts, run, rows) for rows in (pool.texts, data.splits["validation"]))
    settings = Vocabulary(trim=True, tokens=run.recipe.student.vocabulary_size, fill=True)
    return trim_vocabulary(model, tokenizer, used, held_out, settings, folder, partial(load_plain_text, run))


def _sample(
    run: Run, data: DataSet, pool: Pool, chosen: ChosenRows, tokenizer: PreTrainedTokenizerBase
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of training rows, drawn evenly over the languages, with their targets."""
    rows = pool.rows.select(chosen.indices)
    sample = spread_over_languages(rows.column("lang"), _SAMPLE_ROWS, run.recipe.seed)
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(list(rows.select(sample)))
    if chosen.targets is not None:
        examples = [{**example, "labels": [chosen.targets[sample[example["row"]]]]} for example in examples]
    collate = Collator(tokenizer, 0.0, run.recipe.seed)
    for batch in batches_by_length(examples, _SAMPLE_BATCH):
        yield collate([examples[index] for index in batch])


def _training_data(
    run: Run,
    data: DataSet,
    pool: Pool,
    chosen: ChosenRows,
    tokenizer: PreTrainedTokenizerBase,
    outputs: TeacherOutputs,
    store: Path,
) -> TrainingData:
    """The examples, and for each what its row counts and which of the teacher's examples it learns from."""
    rows = pool.rows.select(chosen.indices)
    judged = validation_pool(data, run.recipe) if run.task.VECTORS else None
    validation = judged.rows if judged else data.labelled("validation", run.recipe.data.labelled_languages)
    if run.task.RANKS:  # a query's passages one after the other
        validation = validation.select(np.argsort(_queries(validation), kind="stable"))
    found = training_data(rows, validation, run.task.encoder(tokenizer, run.recipe.data, data.labels), store)
    home = found.train.rows
    first = np.searchsorted(outputs.rows(), pool.reads[chosen.indices])
    place_in_row = np.arange(len(home)) - np.searchsorted(home, home)
    _, language = np.unique(rows.column("lang"), return_inverse=True)
    columns = {"read": first[home] + place_in_row, "weight": chosen.weights[home], "language": language[home]}
    if chosen.targets is not None:
        columns["labels"] = chosen.targets[home][:, None]
    if run.task.RANKS:
        columns["query"] = _queries(rows)[home]
        asked_for = {"query": _queries(validation)[found.validation.rows]}
        found = replace(found, validation=found.validation.with_columns(asked_for))
    found = replace(found, train=found.train.with_columns(columns))
    if judged is None:
        return found
    asked = len(pool.teacher_rows) + judged.reads[found.validation.rows]  # the teacher reads these behind the others
    reads = {"read": np.searchsorted(outputs.rows(), asked)}
    return replace(found, validation=found.validation.with_columns(reads))


def _queries(rows: RowTable) -> np.ndarray:
    """The number of each row's query, int (rows,)."""
    return query_numbers(zip(rows.column("lang"), rows.column("text"), strict=True))


def _targets(run: Run, model: PreTrainedModel, outputs: TeacherOutputs, title: str) -> VectorTargets:
    """Which vectors the student learns; what they lack of the teacher's is said."""
    if not run.task.VECTORS:
        return VectorTargets()
    targets, kept = vector_targets(run.recipe.student.distillation.vectors, model.config, outputs.logits)
    if targets.axes is not None:
        numbers = f"{targets.axes.shape[1]} of {targets.axes.shape[0]} numbers of the teacher's vectors"
        say(f"{title}: {numbers}, on their principal components; {100 * (1 - kept):.2f} % of their squares are lost")
    return targets


def _references(run: Run, rows: TrainingData, outputs: TeacherOutputs) -> torch.Tensor:
    """The teacher's vectors of some training texts, drawn evenly over their languages, float (texts, numbers)."""
    reads = rows.train.column("read")
    assert reads is not None
    chosen = spread_over_languages(rows.train_languages, _REFERENCES, run.recipe.seed)
    return outputs.logits_of(np.unique(reads[chosen]).tolist())


def _job(
    run: Run,
    tokenizer: PreTrainedTokenizerBase,
    material: tuple[TrainingData, SignalPlan, TeacherOutputs, VectorTargets],
    scratch: Path,
    trial: TrialTraining,
) -> TrainingJob:
    """The student's training; ``material`` is what it learns from."""
    seed, training, (rows, plan, outputs, targets) = run.recipe.seed, run.recipe.student.training, material
    return TrainingJob(
        title=trial.title,
        task=run.task,
        data=rows,
        settings=training,
        seed=seed,
        scratch=scratch / "training",
        logs=run.folder / "logs" / trial.title.replace(" ", "-"),
        collate=DistillationCollator(
            Collator(tokenizer, training.mask_probability, seed), outputs, run.task.OUTPUT_AXIS
        ),
        by_accuracy=run.task.BEST_EPOCH == "accuracy",
        special=tokenizer.all_special_ids,
        trainer=partial(DistillationTrainer, distillation=run.recipe.student.distillation, plan=plan, targets=targets),
        until=trial.until,
    )
