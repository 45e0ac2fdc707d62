"""The student stage: its rows, its first weights, and its training on what the teacher said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compress.cache import TeacherOutputs, load_cache
from compress.console import progress, say
from compress.data.encode import encode, pad, spread_over_languages
from compress.data.stage import DataSet, load_data
from compress.distillation import Companion, DistillationCollator, DistillationTrainer
from compress.models import (
    build_student,
    exchange_tokenizer,
    load_classifier,
    load_tokenizer,
    summary_of,
    train_tokenizer,
)
from compress.narrowing import narrow
from compress.pool import Chosen, Pool, build_pool, choose_rows
from compress.processes import is_main_process
from compress.recipe import Recipe
from compress.run import Run, run_stage
from compress.signals import Plan, mapped_layers, plan_signals, prepare
from compress.training import Material, material, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SAMPLE_ROWS = 512
_SAMPLE_BATCH = 32


def run_student_stage(run: Run) -> dict[str, Any]:
    """Fill ``student/`` with a ``save_pretrained`` folder, distilled from the teacher."""
    inputs = {
        **run.recipe.student.model_dump(mode="json", exclude={"cache"}),
        "max_length": run.recipe.data.max_length,
        "labelled_languages": run.recipe.data.labelled_languages,
        "seed": run.recipe.seed,
    }
    parents = ("data", "teacher", "cache")
    return run_stage(
        run, "student", inputs, parents, lambda folder, scratch: _build(run, folder, scratch), parallel=True
    )


def _build(run: Run, folder: Path, scratch: Path) -> dict[str, Any]:
    torch.manual_seed(run.recipe.seed)
    data, student = load_data(run), run.recipe.student
    pool, outputs = build_pool(data, run.recipe), load_cache(run)
    chosen = choose_rows(pool, outputs.logits(), data, student.rows, run.recipe.data.labelled_languages)
    _tell(chosen)
    teacher = load_classifier(str(run.path_of("teacher")), data.labels, as_is=True)
    model, tokenizer = _first_student(run, teacher, data, pool, chosen)
    plan = plan_signals(student.distillation, model.config.num_hidden_layers, teacher.config.num_hidden_layers)
    usual_attention = model.config._attn_implementation
    prepare(model, plan.student)
    rows = _material(run.recipe, data, pool, chosen, tokenizer, scratch / "rows")
    languages = sorted(set(rows.train_languages))
    own = model.config
    model.companion = Companion(
        plan, own.hidden_size, teacher.config.hidden_size, own.num_attention_heads, len(languages)
    )
    del teacher
    summary = summary_of(model)
    say(f"student: {model.config.model_type} {summary['shape']}, {summary['parameters'] / 1e6:.2f} million weights")
    summary["rows"] = chosen.counts
    summary["training"] = _train(run, model, tokenizer, rows, plan, outputs, scratch)
    if student.distillation.group_dro:
        weights = model.companion.language_weights.tolist()
        summary["language weights"] = {name: round(w, 4) for name, w in zip(languages, weights, strict=True)}
    del model.companion
    if is_main_process():
        model.set_attn_implementation(usual_attention)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return summary


def _first_student(
    run: Run, teacher: PreTrainedModel, data: DataSet, pool: Pool, chosen: Chosen
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The untrained student and its tokenizer."""
    student = run.recipe.student
    tokenizer = load_tokenizer(str(run.path_of("teacher")))
    model = build_student(teacher, student)
    if student.initialization in ("importance", "svd") and not student.every_nth_layer:
        depth = teacher.config.num_hidden_layers
        kept = [layer - 1 for layer in mapped_layers("uniform", student.layers, depth)]
        with progress() as bar:
            task = bar.add_task("weighing the teacher's parts", total=min(_SAMPLE_ROWS, len(chosen.indices)))
            batches = _sample(run.recipe, pool, chosen, tokenizer)
            narrow(teacher, model, kept, batches, student.initialization, lambda rows: bar.advance(task, rows))
    if student.tokenizer is None:
        return model, tokenizer
    texts = [text for row in pool.rows for text in (row.text, row.text_pair) if text]
    own = train_tokenizer(texts, student.tokenizer, run.recipe.data.max_length)
    say(f"student: trained a tokenizer with {len(own):,} tokens")
    return exchange_tokenizer(model, tokenizer, own), own


def _sample(
    recipe: Recipe, pool: Pool, chosen: Chosen, tokenizer: PreTrainedTokenizerBase
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of training rows, drawn evenly over the languages, with their targets."""
    rows = pool.rows.select(chosen.indices)
    sample = spread_over_languages(rows.column("lang"), _SAMPLE_ROWS, recipe.seed)
    encoded = encode(tokenizer, list(rows.select(sample)), recipe.data.max_length)
    for start in range(0, len(sample), _SAMPLE_BATCH):
        part = slice(start, start + _SAMPLE_BATCH)
        inputs = {name: torch.from_numpy(array) for name, array in pad(encoded[part], tokenizer.pad_token_id).items()}
        yield {**inputs, "labels": torch.from_numpy(chosen.targets[sample[part]])}


def _material(
    recipe: Recipe, data: DataSet, pool: Pool, chosen: Chosen, tokenizer: PreTrainedTokenizerBase, store: Path
) -> Material:
    rows = pool.rows.select(chosen.indices)
    validation = data.labelled("validation", recipe.data.labelled_languages)
    _, language = np.unique(rows.column("lang"), return_inverse=True)
    return material(
        tokenizer,
        rows,
        validation,
        (chosen.targets, data.numbers(validation)),
        recipe.data.max_length,
        store,
        read=pool.reads[chosen.indices],
        weight=chosen.weights,
        language=language,
    )


def _train(
    run: Run,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Material,
    plan: Plan,
    outputs: TeacherOutputs,
    scratch: Path,
) -> dict[str, Any]:
    student = run.recipe.student
    return train(
        model,
        tokenizer,
        rows,
        student.training,
        scratch / "training",
        title="student",
        seed=run.recipe.seed,
        logs=run.folder / "logs" / "student",
        collate=DistillationCollator(tokenizer, student.training.mask_probability, run.recipe.seed, outputs=outputs),
        trainer_class=DistillationTrainer,
        distillation=student.distillation,
        plan=plan,
    )


def _tell(chosen: Chosen) -> None:
    counts = {name: number for name, number in chosen.counts.items() if isinstance(number, int) and number}
    say("student: " + ", ".join(f"{number:,} {name}" for name, number in counts.items()))
