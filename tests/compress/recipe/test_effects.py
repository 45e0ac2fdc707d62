"""Every field of the recipe, set to another value, changes what a run makes of it.

The stages run with real code on a few rows; of a training only the steps are left out: what it would be begun with is
noted, and the loss of its first batch. A field without effect changes nothing of it; one that no stage's key has leaves
the stage skipped, which changes nothing either.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import task_rows
import transformers
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.trainer_utils import TrainOutput

from compress.data.builtin import cldr
from compress.data.stage import run_data_stage
from compress.errors import CompressError
from compress.evaluation.stage import run_evaluation_stage
from compress.machine import CpuFeatures
from compress.recipe.file import load_recipe
from compress.recipe.reference import field_paths
from compress.runs.directory import Run, open_run
from compress.student.stage import run_student_stage
from compress.teacher.augmentation import run_augmentation_stage
from compress.teacher.outputs import run_cache_stage
from compress.teacher.sequences import run_sequences_stage, wanted_stages
from compress.teacher.stage import run_teacher_stage
from compress.training.trainer import BucketTrainer

ROWS = {"de": 24, "en": 16, "ja": 8}
_TRAINING = {"epochs": 1, "batch_size": 8, "precision": "fp32"}
_SHAPE = {"layers": 2, "hidden_size": 16, "heads": 2, "feed_forward_size": 16}
_SIGNALS = {
    "hidden": {"weight": 1},
    "embeddings": {"weight": 1},
    "attention": {"weight": 1},
    "relations": {"weight": 1, "heads": 2},
    "sentences": {"weight": 1},
}
_NO_TOKEN_SIGNALS = {
    **{f"student.distillation.{name}.weight": 0 for name in _SIGNALS if name != "sentences"},
    "student.distillation.relations.heads": 8,
}
READING = {
    "data": {"max_length": 16, "fields": {"parallel": "parallel"}},
    "teacher": {
        "scratch": {**_SHAPE, "layers": 4, "tokenizer": {"vocabulary_size": 200}, "pretraining": _TRAINING},
        "training": _TRAINING,
    },
    "student": {**_SHAPE, "distillation": {**_SIGNALS, "group_dro": 0.1}, "training": _TRAINING},
}
WRITING = {
    "task": "translation",
    "data": {"max_length": 16},
    "teacher": {"scratch": {**_SHAPE, "tokenizer": {"vocabulary_size": 200}}, "training": _TRAINING},
    "student": {**_SHAPE, "distillation": {"sequences": {"enabled": True, "beams": 2}}, "training": _TRAINING},
    "generation": {"beams": 2},
}


@dataclass(frozen=True)
class Change:
    """Another value of a field. ``given`` are fields without which it has no meaning; text may name the `{folder}`.
    ``refused`` is what is said where the stages have no use for it."""

    value: object
    given: dict[str, object] = field(default_factory=dict)
    writes: bool = False
    refused: str | None = None


TRAININGS = {
    "pre-training": "teacher.scratch.pretraining",
    "teacher": "teacher.training",
    "student": "student.training",
}
TRAINING_CHANGES = {
    "epochs": 2,
    "batch_size": 16,
    "gradient_accumulation": 2,
    "learning_rate": 0.5,
    "weight_decay": 0.5,
    "learning_rate_warmup": 0.5,
    "mask_probability": 0.9,
    "label_smoothing": 0.5,
    "language_exponent": 0.0,
    "precision": "bf16",
    "checkpoint_steps": 7,
    "compile": True,
}
_TOKENIZER_CHANGES = {
    "model": Change("unigram"),
    "vocabulary_size": Change(110),
    "longest_piece": Change(6),
    "lowercase": Change(False),
}
_OWN_TOKENIZER = {**_NO_TOKEN_SIGNALS, "student.tokenizer": {"vocabulary_size": 190}}
_PRETRAINED = {"teacher.model": "{folder}/runs/demo/teacher"}
_TRIMMED = {
    **_PRETRAINED,
    "data.languages": ["de"],
    "teacher.vocabulary.trim": True,
    "teacher.allow_unknown_tokens": ["de"],
}
_SPLITS = {f"data.{split}": f"{{folder}}/rows/{split}.jsonl" for split in ("train", "validation", "test")}
_IN_FILES = {**_SPLITS, "data.source": "cldr"}
CHANGES: dict[str, Change] = {
    "name": Change("other"),
    "task": Change("token-classification", refused="field 'tokens' is missing"),
    "seed": Change(1),
    "data.source": Change("{folder}/other"),
    **{name: Change("{folder}/other/" + name.removeprefix("data.") + ".jsonl", _IN_FILES) for name in _SPLITS},
    "data.unlabelled": Change("{folder}/other/train.jsonl"),
    "data.plain_text": Change(["{folder}/other/train.jsonl"], _TRIMMED),
    "data.fields.text": Change("other"),
    "data.fields.text_pair": Change("other"),
    "data.fields.label": Change("half"),
    "data.fields.lang": Change(None),
    "data.fields.parallel": Change(
        None, {**_NO_TOKEN_SIGNALS, "student.distillation.pivot": "en"}, refused="no row has a parallel sentence"
    ),
    "data.fields.source_lang": Change("other", writes=True),
    "data.fields.target_lang": Change("other", writes=True),
    "data.languages": Change(["de", "en"]),
    "data.labelled_languages": Change(["de"]),
    "data.max_length": Change(9),
    "data.language_codes": Change({"de": "fr"}, writes=True),
    "data.label_names": Change(
        {"none": "date"}, {**_PRETRAINED, "teacher.fine_tune": False}, refused="no row has the label 'none'"
    ),
    "data.prefix": Change("query: "),
    "teacher.model": Change("{folder}/runs/demo/student"),
    "teacher.fine_tune": Change(False, _PRETRAINED),
    "teacher.dtype": Change("bfloat16", {**_PRETRAINED, "teacher.fine_tune": False}),
    "teacher.pooling": Change("first", _PRETRAINED),
    "teacher.allow_unknown_tokens": Change(["xx"], refused="no rows in xx"),
    "teacher.vocabulary.trim": Change(False, _TRIMMED),
    "teacher.vocabulary.minimum_count": Change(5, _TRIMMED),
    "teacher.vocabulary.coverage": Change(0.5, _TRIMMED),
    "teacher.vocabulary.tokens": Change(100, _TRIMMED),
    "teacher.vocabulary.fill": Change(True, {**_TRIMMED, "teacher.vocabulary.tokens": 150}),
    "teacher.vocabulary.keep": Change(["no such token"], _TRIMMED, refused="is no token of this model"),
    "teacher.vocabulary.max_loss": Change(
        0, {**_TRIMMED, "teacher.vocabulary.coverage": 0.5}, refused="max_loss: de would lose"
    ),
    **{f"teacher.scratch.tokenizer.{name}": change for name, change in _TOKENIZER_CHANGES.items()},
    "teacher.scratch.layers": Change(5),
    "teacher.scratch.decoder_layers": Change(1, writes=True),
    "teacher.scratch.hidden_size": Change(20),
    "teacher.scratch.heads": Change(1, {"student.distillation.attention.weight": 0}),
    "teacher.scratch.feed_forward_size": Change(20),
    "teacher.scratch.dropout": Change(0.5),
    "student.every_nth_layer": Change(2),
    "student.layers": Change(1),
    "student.decoder_layers": Change(1, writes=True),
    "student.hidden_size": Change(20),
    "student.heads": Change(1, {"student.distillation.attention.weight": 0}),
    "student.feed_forward_size": Change(20),
    "student.initialization": Change("random"),
    **{
        f"student.tokenizer.{name}": Change(change.value, _OWN_TOKENIZER) for name, change in _TOKENIZER_CHANGES.items()
    },
    "student.vocabulary_size": Change(150, _NO_TOKEN_SIGNALS),
    "student.languages": Change(["de"]),
    "student.rows.minimum_confidence": Change(0.9, refused="no row is left"),
    "student.rows.drop_disagreement": Change(True),
    "student.rows.weight_by_confidence": Change(True),
    "student.augmentation.copies": Change(1),
    "student.augmentation.kinds": Change(["dropped"], {"student.augmentation.copies": 1}),
    "student.distillation.alpha": Change(0.5),
    "student.distillation.temperature": Change(3.0),
    "student.distillation.final_temperature": Change(1.0),
    **{f"student.distillation.{name}.weight": Change(2.0) for name in _SIGNALS},
    "student.distillation.hidden.layers": Change("last"),
    "student.distillation.attention.layers": Change("last"),
    "student.distillation.relations.layer": Change(1),
    "student.distillation.relations.heads": Change(4),
    "student.distillation.sequences.enabled": Change(False, {"student.distillation.sequences.beams": 4}, writes=True),
    "student.distillation.sequences.beams": Change(1, writes=True),
    "student.distillation.pivot": Change("en", _NO_TOKEN_SIGNALS),
    "student.distillation.group_dro": Change(5.0),
    "student.cache.precision": Change("fp16"),
    "student.cache.compute": Change("bf16"),
    "generation.beams": Change(1, writes=True),
    "generation.length_penalty": Change(-9.0, writes=True),
    "evaluation.baseline": Change(True),
}
_OF_TRAININGS = {
    "freeze": "compress/training/test_weights.py::test_what_is_frozen_stays",
    "threads": "compress/training/test_precision.py::test_threads_are_those_of_the_recipe_until_the_training_ends",
    "checkpoint_minutes": "compress/training/test_course.py::test_a_checkpoint_is_written_after_some_minutes",
}
_ELSEWHERE = {
    **{f"{section}.{name}": test for section in TRAININGS.values() for name, test in _OF_TRAININGS.items()},
    "data.configuration": "compress/data/test_hub.py::test_a_data_set_of_the_hub_is_read_in_its_configuration",
    "student.seeds": "compress/student/test_seeds.py::test_the_best_of_several_seeds_is_kept_and_their_spread_told",
    "student.kind": "test_as_is.py::test_the_run_is_named_after_the_model_and_holds_no_student",
    "student.cache.limit_gb": "compress/teacher/test_outputs.py::test_too_much_is_refused_before_anything_is_written",
    **dict.fromkeys(
        ("teacher.revision", "teacher.subfolder"),
        "compress/models/test_source.py::test_a_hub_id_is_the_commit_that_its_branch_points_to",
    ),
    "teacher.token": "compress/models/test_source.py::test_the_hub_is_shown_what_the_variable_holds",
    "teacher.dtype": "compress/models/test_intake.py::"
    "test_a_teacher_that_is_taken_as_it_is_may_be_held_in_half_precision",
    "teacher.embedding.dimensions": "test_vectors.py::"
    "test_texts_alone_are_held_against_the_model_s_own_vectors_and_an_encoder_needs_its_pooling_named",
    **dict.fromkeys(
        ("data.prompts", "data.default_prompt", "teacher.embedding.normalize", "teacher.embedding.similarity"),
        "test_vectors.py::test_prompts_length_and_comparing_may_be_the_recipe_s",
    ),
    **dict.fromkeys(
        ("data.negatives.per_query", "data.negatives.by"),
        "test_reranking.py::test_passages_of_other_rows_are_the_negatives_of_queries_with_one",
    ),
    "student.distillation.ranking": "test_reranking.py::test_what_of_the_scores_is_learnt_is_what_the_recipe_says",
    **dict.fromkeys(
        (f"student.distillation.vectors.{name}" for name in ("cosine", "mse", "similarities")),
        "compress/student/test_vectors.py::test_each_loss_is_there_with_its_weight",
    ),
    "student.distillation.vectors.temperature": "compress/student/test_vectors.py::"
    "test_similarities_are_compared_as_distributions_over_the_teachers_vectors_of_other_texts",
    "student.distillation.vectors.dimensions": "compress/student/test_vectors.py::"
    "test_the_first_numbers_of_a_vector_learn_the_similarities_too",
    "student.distillation.vectors.projection": "test_vector_students.py::"
    "test_a_student_on_principal_components_has_vectors_as_long_as_it_is_wide",
    "teacher.predictions": "compress/teacher/test_predictions.py::"
    "test_there_is_no_teacher_and_the_store_holds_what_the_file_says",
    "teacher.code_revision": "test_own_code.py::test_code_of_another_repository_is_of_one_commit_which_is_noted",
    "teacher.trust_remote_code": "test_own_code.py::test_code_runs_in_every_stage_of_a_run_that_trusts_it",
}
"""Fields that these runs have no use for, and the tests that show their effect."""
_AFTERWARDS = ("export", "bench", "bundle")
"""Sections on what begins after these stages: `test_effects_on_what_follows`."""


def test_every_field_up_to_the_export_is_changed_here():
    paths = [path for path in field_paths() if path.partition(".")[0] not in _AFTERWARDS]
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    trainings = {f"{section}.{name}" for section in TRAININGS.values() for name in TRAINING_CHANGES}
    assert leaves == {*CHANGES, *trainings, *_ELSEWHERE}


@pytest.mark.parametrize("name", _ELSEWHERE)
def test_what_is_tested_elsewhere_is(name: str):
    file, _, test = _ELSEWHERE[name].partition("::")
    assert f"\ndef {test}(" in (Path(__file__).parents[2] / file).read_text("utf-8")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the trainings that have begun would do, by title; no step of them is made."""
    noted: dict[str, Any] = {}

    def begin(trainer: BucketTrainer, resume_from_checkpoint: str | None = None) -> TrainOutput:
        reporter = next(found for found in trainer.callback_handler.callbacks if type(found).__name__ == "Reporter")
        noted[reporter._title] = _plan(trainer)
        return TrainOutput(0, 0.0, {"train_runtime": 0.0})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.Trainer, "train", begin)
        yield noted


def _plan(trainer: BucketTrainer) -> dict[str, Any]:
    """Arguments, order of the rows, first batch and its loss, first checkpoint."""
    order = list(trainer._get_train_sampler())
    batch = trainer.data_collator([trainer.train_dataset[row] for row in order[: trainer.args.train_batch_size]])
    shown = {name: values.tolist() for name, values in batch.items()}
    trainer.state.global_step, trainer.state.max_steps = 1, 2
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    paths = ("output_dir", "logging_dir")
    return {
        "arguments": {name: value for name, value in trainer.args.to_dict().items() if name not in paths},
        "order": order,
        "batch": shown,
        "loss": loss.item(),
        "first checkpoint": next(step for step in range(1, 2000) if _saves(trainer, step)),
    }


def _saves(trainer: BucketTrainer, step: int) -> bool:
    state, control = TrainerState(global_step=step), TrainerControl()
    for callback in trainer.callback_handler.callbacks:
        if type(callback).__module__.startswith("compress") and type(callback).__name__ != "Reporter":
            callback.on_step_end(trainer.args, state, control)
    return control.should_save


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of rows for each way to read them."""
    root, generator = tmp_path_factory.mktemp("effects"), random.Random(0)
    for split, expressions in cldr.generate(0).items():
        kept = [row for row in expressions if row["label"] in task_rows.KINDS]
        by_language = [
            [row for row in kept if row["lang"] == language][: 2 * count] for language, count in ROWS.items()
        ]
        for turn, name in enumerate(("rows", "other")):
            chosen = [row for own in by_language for row in own[turn::2]]
            reading = [
                {**row, "other": row["text"][:4], "half": "ab"[number % 2], "parallel": str(number % 8)}
                for number, row in enumerate(chosen)
            ]
            writing = [{**next(task_rows.translations([], generator)), "other": "xx"} for _ in range(24)]
            for folder, made in ((root / name, reading), (root / f"{name}-to-translate", writing)):
                folder.mkdir(exist_ok=True)
                (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    return root


def outcome(folder: Path, begun: dict[str, Any], writes: bool, overrides: dict[str, object]) -> dict[str, Any]:
    """What a run makes of a recipe, or why it makes nothing; stages that are skipped add nothing."""
    begun.clear()
    content = json.loads(json.dumps(WRITING if writes else READING))
    content["data"]["source"] = "{folder}/" + ("rows-to-translate" if writes else "rows")
    path = folder / "recipe.json"
    path.write_text(json.dumps(content).replace("{folder}", str(folder)), "utf-8")
    given = json.loads(json.dumps(overrides).replace("{folder}", str(folder)))
    run = open_run(load_recipe(path, given), folder / "runs")
    try:
        _run_stages(run)
    except CompressError as error:
        return {"error": str(error)}
    stages = {
        name: (
            entry.digest,
            {key: value for key, value in entry.summary.items() if key not in ("training", "store")},
            entry.summary.get("training") is not None,
        )
        for name, entry in run.manifest.stages.items()
        if name != "cache"  # it holds its key: what counts is what lies there
    }
    cached = run.folder.parent / ".cache" / run.manifest.stages["cache"].summary["store"]
    shards = [hashlib.sha256(shard.read_bytes()).hexdigest() for shard in sorted(cached.glob("*.safetensors"))]
    return {"folder": run.folder.name, **stages, "cache": shards, "begun": dict(begun)}


def _run_stages(run: Run) -> None:
    run_data_stage(run)
    run_teacher_stage(run)
    if run.recipe.student.augmentation.copies:
        run_augmentation_stage(run)
    elif wanted_stages(run):
        run_sequences_stage(run)
    run_cache_stage(run)
    run_student_stage(run)
    run_evaluation_stage(run)


@pytest.fixture(scope="module")
def finished(rows: Path, begun: dict[str, Any]) -> dict[bool, dict[str, Any]]:
    """The outcome of a run that reads, and of one that writes; their folders lie in ``rows``."""
    return {False: _finish(rows, begun, False), True: _finish(rows, begun, True)}


def _finish(rows: Path, begun: dict[str, Any], writes: bool) -> dict[str, Any]:
    folder = rows / "finished" / str(writes)
    folder.mkdir(parents=True)
    for name in ("rows", "other", "rows-to-translate", "other-to-translate"):
        (folder / name).symlink_to(rows / name)
    return outcome(folder, begun, writes, {})


@pytest.fixture(autouse=True)
def multiplies_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors that do not compute in 32 bits what is asked for in bf16."""
    features = CpuFeatures("x86_64", "one with bf16", avx512_bf16=True)
    monkeypatch.setattr("compress.training.precision.cpu_features", lambda: features)


@pytest.mark.parametrize("path", CHANGES)
def test_another_value_makes_another_run(path, rows, finished, begun, tmp_path):
    change = CHANGES[path]
    shutil.copytree(rows / "finished" / str(change.writes), tmp_path / "run", symlinks=True)
    before = finished[change.writes]
    if change.given:
        before = outcome(tmp_path / "run", begun, change.writes, change.given)
        assert "error" not in before
    after = outcome(tmp_path / "run", begun, change.writes, {**change.given, path: change.value})
    if change.refused:
        assert change.refused in after["error"]
    else:
        assert "error" not in after, after
        assert differences(before, after)


@pytest.mark.parametrize("name", TRAINING_CHANGES)
def test_another_value_makes_another_training(name, rows, finished, begun, tmp_path):
    shutil.copytree(rows / "finished/False", tmp_path / "run", symlinks=True)
    changed = {f"{section}.{name}": TRAINING_CHANGES[name] for section in TRAININGS.values()}
    after = outcome(tmp_path / "run", begun, False, changed)
    for title in TRAININGS:
        assert after["begun"][title] != finished[False]["begun"][title], title


def test_a_tokenizer_of_the_student_s_own_must_know_what_it_reads(rows, finished, begun, tmp_path, monkeypatch):
    monkeypatch.setattr("compress.models.intake._REFUSED_UNKNOWN", 0.1)
    shutil.copytree(rows / "finished/False", tmp_path / "run", symlinks=True)
    small = {**_OWN_TOKENIZER, "student.tokenizer.vocabulary_size": 100}
    message = (
        r"^student: its tokenizer does not know \d+\.\d % of the tokens in ja; raise student.tokenizer.vocabulary_s"
    )
    assert re.search(message, outcome(tmp_path / "run", begun, False, small)["error"])
    german = outcome(tmp_path / "run", begun, False, {**small, "student.languages": ["de"]})
    assert "error" not in german


def test_the_same_recipe_makes_the_same_run(rows, finished, begun, tmp_path):
    for writes in (False, True):
        folder = tmp_path / str(writes)
        folder.mkdir()
        for name in ("rows", "rows-to-translate"):
            (folder / name).symlink_to(rows / name)
        assert differences(finished[writes], outcome(folder, begun, writes, {})) == {}


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is not as it was; a training that was not begun again is as it was."""
    changed = {name: after.get(name) for name in before if name != "begun" and after.get(name) != before[name]}
    for title, plan in after["begun"].items():
        known = before["begun"].get(title, {})
        changed |= {f"{title}: {what}": found for what, found in plan.items() if found != known.get(what)}
    return changed
