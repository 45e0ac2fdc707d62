"""The student, distilled further with the rounding of int8."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.console import say
from compress.runs.directory import Run
from compress.student.quantisation_aware import rounding_of_int8
from compress.student.stage import Continuation, distil
from compress.variants.registry import PLAIN
from export.variants.making import Ingredients, make


def retrained_graphs(run: Run, ingredients: Ingredients, folder: Path) -> Path:
    """Plain graphs of the student after quantisation-aware distillation, unless they are there already.

    :param folder: Keeps them, and checkpoints while it is distilled.
    :return: A folder within it.
    """
    finished, budget = folder / "retrained-onnx", run.recipe.export.budget
    if finished.exists():
        return finished
    say("search: distilling with the rounding of int8")
    training = run.recipe.student.training.model_copy(
        update={
            "epochs": budget.epochs,
            "learning_rate": budget.learning_rate,
            "precision": "fp32",  # half precision would round the numbers that int8 is to round
        }
    )
    reduce_range = ingredients.target.reduce_range
    more = Continuation(ingredients.student, training, lambda model: rounding_of_int8(model, reduce_range))
    checkpoints = folder / "training"
    with TemporaryDirectory(dir=folder) as scratch:
        student, graphs = Path(scratch) / "student", Path(scratch) / "graphs"
        student.mkdir()
        graphs.mkdir()
        distil(run, student, checkpoints, more)
        make(PLAIN, replace(ingredients, student=student), graphs)
        graphs.rename(finished)
    shutil.rmtree(checkpoints)
    return finished
