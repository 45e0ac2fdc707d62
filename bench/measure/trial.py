"""Trying the user's own models in a process of its own: their files are anybody's, and can abort, hang or fill it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measure.contenders import Contender
from bench.measure.sizes import model_files, size_on_disk
from compress.contract import Contract
from compress.data.encode import pad
from compress.errors import CompressError, first_line
from compress.recipe.recipe import Recipe
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict
from compress.subprocesses import ProcessLimits, answers_alone, ask_limited
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.variants.registry import Runtime
from export.onnx.checks import check_weights_are_beside

_SECONDS, _SECONDS_A_MEGABYTE = 300, 2
_MEMORY, _TIMES_ITS_SIZE = 8_000_000_000, 8
"""Bytes for Python and the libraries, and how often a runtime holds the weights while it rewrites a graph, at most."""


class _Model(Contract):
    model: Path
    tokenizer: Path
    labels: list[str]
    runtime: Runtime


class _Question(Contract):
    models: list[_Model]
    recipe: Recipe
    rows: Path


def try_contenders(contenders: Sequence[Contender], recipe: Recipe, rows: Path) -> None:
    """Open the user's models and their tokenizers, split all test rows and run the first, in a process that may not
    come back.

    :param rows: The file of the test rows that the data stage has written.
    :raises CompressError: If it did not come back, or a model cannot be measured.
    """
    if not contenders:
        return
    models = [
        _Model(model=each.model, tokenizer=each.tokenizer, labels=list(each.labels), runtime=each.runtime)
        for each in contenders
    ]
    sizes = [_most_bytes(model.model) for model in models]
    seconds = _SECONDS + _SECONDS_A_MEGABYTE * (sum(sizes) + len(models) * rows.stat().st_size) / 1e6
    limits = ProcessLimits(seconds, _MEMORY + _TIMES_ITS_SIZE * max(sizes))
    question = _Question(models=models, recipe=recipe, rows=rows)
    told = ask_limited("bench.measure.trial", question.model_dump_json(), limits)
    problems: list[str | None] = [json.loads(line) for line in told.lines]
    if told.failure:
        ended = f"the process that tried it {told.failure}; its files are damaged or harmful"
        problems.append(f"{models[len(problems)].model}: {ended}")
    for contender, problem in zip(contenders, problems, strict=False):
        if problem:
            raise CompressError(f"--variant {contender.name}: {problem}")


def _most_bytes(model: Path) -> int:
    """Of a model, if all that lies beside its file belongs to it."""
    folder = model if model.is_dir() else model.parent
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def main() -> None:
    """Try the models that standard input names, and answer of each with what is wrong with it, if anything."""
    question = _Question.model_validate_json(sys.stdin.read())
    answers = answers_alone()
    for model in question.models:
        print(json.dumps(_problem(model, question)), file=answers, flush=True)


def _problem(model: _Model, question: _Question) -> str | None:
    try:
        _try(model, question)
    except CompressError as error:
        return str(error)
    except Exception as error:  # whatever the libraries raise over files that are not what they should be
        return f"{model.model}: cannot be measured ({first_line(error)})"
    return None


def _try(asked: _Model, question: _Question) -> None:
    from compress.models.load import load_model, load_tokenizer

    recipe, task = question.recipe, task_named(question.recipe.task)
    for path in model_files(asked.model):
        if path.suffix == ".onnx":
            check_weights_are_beside(path)
    size_on_disk(asked.model, asked.tokenizer)
    tokenizer = load_tokenizer(asked.tokenizer)
    with question.rows.open(encoding="utf-8") as file:
        rows = [Row(**json.loads(line)) for line in file]
    examples = task.encoder(tokenizer, recipe.data, asked.labels)(rows)
    if asked.runtime == "PyTorch":
        load_model(task, asked.model, [])  # sees that its weights are whole
    load_predict(asked.model, task, Search.of(recipe))(pad(examples[:1], tokenizer.pad_token_id))


if __name__ == "__main__":
    main()
