"""The form that candidates are measured and judged in: int8 for the target, as it is deployed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from bench.fit.candidates import recipe_of
from bench.fit.report import FitCandidate
from compress.console import swallowed_output
from compress.data.stage import DataSet
from compress.errors import RejectedVariantError
from compress.evaluation.predicted import predicted_of
from compress.models.build import exchange_tokenizer, student_config
from compress.models.describe import thresholds_in
from compress.models.load import load_config, load_tokenizer, model_class, save_model, save_tokenizer
from compress.runs.directory import Run
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.student.stage import fewer_tokens, own_tokenizer
from compress.targets import Target
from compress.tasks.contract import Prediction
from compress.tasks.rows import Row
from compress.teacher.pool import build_pool
from compress.teacher.summary import TEACHER
from compress.variants.registry import FUSED, INT8, PLAIN, STATIC_INT8, Variant, default_variants
from export.onnx.graphs import graph_bytes
from export.quantize.calibration import calibration_of, check_calibration_rows
from export.search.timing import FormTimes, timed_in_turn
from export.variants.making import ingredients_of, make


def form_for(run: Run, data: DataSet, target: Target) -> Variant:
    """The faster form, whose ranges are fixed, where it is exported for a CPU and a run's rows can tell them."""
    named = run.recipe.export.variants
    exported = [variant.name for variant in default_variants(target)] if named is None else named
    if run.task.GENERATES or target.is_gpu or STATIC_INT8.name not in exported:
        return INT8
    try:
        check_calibration_rows(run, data)
    except RejectedVariantError:
        return INT8
    return STATIC_INT8


@dataclass(frozen=True)
class FormMaker:
    """Makes the form of students of a run."""

    run: Run
    data: DataSet
    target: Target

    @property
    def form(self) -> Variant:
        """What is made."""
        return form_for(self.run, self.data, self.target)

    def make(self, student: Path, folder: Path) -> Path:
        """The form of a student's ``save_pretrained`` folder, in a new folder within ``folder``.

        :raises RejectedVariantError: If its graph does not come out as it should.
        """
        made = {variant.name: folder / variant.name for variant in (PLAIN, FUSED, self.form)}
        for path in made.values():
            path.mkdir()
        ingredients = replace(
            ingredients_of(self.run, self.data, self.target),
            student=student,
            plain=made[PLAIN.name],
            fused=made[FUSED.name],
            calibrate=lambda: calibration_of(self.run, self.data, student),
            announce=contextlib.nullcontext,
        )
        for variant in (PLAIN, FUSED, self.form):
            make(variant, ingredients, made[variant.name])
        return made[self.form.name]

    def untrained(self, candidate: FitCandidate, folder: Path) -> None:
        """Fill a folder with a candidate that has random weights: latency and size are those of the trained one."""
        import torch

        run, teacher = self.run, self.run.path_of(TEACHER.name)
        student = recipe_of(candidate, run.recipe).student
        torch.manual_seed(run.recipe.seed)
        config = student_config(load_config(teacher, run.trusts_code), student)
        with swallowed_output():
            model = model_class(run.task).from_config(config, trust_remote_code=run.trusts_code)
        with torch.no_grad():
            for weights in model.parameters():  # new norms are all the same, and a graph keeps what is the same once
                weights.add_(torch.randn_like(weights), alpha=0.01)
        tokenizer = load_tokenizer(teacher, run.trusts_code)
        if student.tokenizer:
            own = own_tokenizer(run, build_pool(self.data, run.recipe), student.tokenizer)
            model, tokenizer = exchange_tokenizer(model, tokenizer, own), own
        elif student.vocabulary_size:
            narrowed = replace(run, recipe=recipe_of(candidate, run.recipe))
            rows = self.data, build_pool(self.data, run.recipe)
            tokenizer, _ = fewer_tokens(narrowed, rows, model, tokenizer, folder)
        save_model(model, folder)
        save_tokenizer(tokenizer, folder)

    def times(self, form: Path, reference: Path, rows: list[Row]) -> FormTimes:
        """Latency of one row at a time, in turn with another form."""
        tokenizer = load_tokenizer(form, self.run.trusts_code)
        examples = self.run.task.encoder(tokenizer, self.run.recipe.data, self.data.labels)(rows)
        search, threads = Search.of(self.run.recipe), self.run.recipe.bench.threads
        own, other = (load_predict(folder, self.run.task, search, threads) for folder in (form, reference))
        return timed_in_turn(own, other, examples, tokenizer.pad_token_id)

    def predictions(self, form: Path, rows: list[Row]) -> list[Prediction]:
        """What a form says of rows, as `Task.findings` has it."""
        task, tokenizer = self.run.task, load_tokenizer(form, self.run.trusts_code)
        examples = task.encoder(tokenizer, self.run.recipe.data, self.data.labels)(rows)
        outputs = predict_examples(
            load_predict(form, task, Search.of(self.run.recipe)), task, examples, tokenizer.pad_token_id
        )
        how = (tokenizer, thresholds_in(form), self.run.recipe.teacher.embedding.compared_by)
        return predicted_of(task, outputs, examples, rows, self.data.labels, *how).predictions


def size_of(form: Path) -> int:
    """Bytes of a form."""
    return graph_bytes(form)
