"""Trying the models of a bundle in a process of its own: graphs and tokenizers can abort, loop, or fill the memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from compress.contract import Contract
from compress.errors import CompressError, UnavailableError
from compress.serving.format import CERTIFICATE_FILE, BundleModel, read_description
from compress.subprocesses import ProcessLimits, answers_alone, ask_limited
from export.bundle.trust.canary import canary_problem
from export.bundle.trust.certified import certificate_problem
from export.bundle.trust.result import Check
from export.onnx.checks import check_weights_are_beside

_SECONDS, _SECONDS_A_MEGABYTE = 120, 2
_MEMORY, _TIMES_ITS_SIZE = 4_000_000_000, 8
"""Bytes for Python and the libraries, and how often a runtime holds the weights while it rewrites a graph, at most."""


class _ModelsQuestion(Contract):
    folder: Path
    models: list[BundleModel]


class ModelTrial(Contract):
    """What trying one model has shown; ``certified`` is none where the bundle has no certificate.

    ``malformed`` names descriptions that cannot be read or are another model's, and graphs whose weights lie elsewhere;
    ``says`` is none where these kept it from being asked.
    """

    malformed: list[str]
    says: Check | None
    certified: Check | None = None


def try_models(folder: Path, models: Sequence[BundleModel]) -> list[ModelTrial]:
    """Try the models of a bundle, in their order; one that ends the process that tries it keeps no other from it."""
    found: list[ModelTrial] = []
    while len(found) < len(models):
        rest = models[len(found) :]
        question = _ModelsQuestion(folder=folder, models=rest).model_dump_json()
        told = ask_limited("export.bundle.trust.trial", question, _limits(rest))
        found += [ModelTrial.model_validate_json(line) for line in told.lines]
        if told.failure:
            ended = Check(what=_what(models[len(found)]), passed=False, found=f"what tried it {told.failure}")
            found.append(ModelTrial(malformed=[], says=ended))
    return found


def _limits(models: Sequence[BundleModel]) -> ProcessLimits:
    sizes = [model.bytes for model in models]
    seconds, memory = _SECONDS + _SECONDS_A_MEGABYTE * sum(sizes) / 1e6, _MEMORY + _TIMES_ITS_SIZE * max(sizes)
    return ProcessLimits(seconds, memory, on_gpu=any(model.on_gpu for model in models))


def _tried(folder: Path, model: BundleModel) -> ModelTrial:
    malformed = _malformed(folder, model)
    if malformed:
        return ModelTrial(malformed=malformed, says=None)
    certified = (folder / CERTIFICATE_FILE).is_file()
    return ModelTrial(
        malformed=[],
        says=_judged(_what(model), partial(canary_problem, folder, model)),
        certified=_judged(f"the certificate is of {model.name}", partial(certificate_problem, folder, model))
        if certified
        else None,
    )


def _malformed(folder: Path, model: BundleModel) -> list[str]:
    try:
        description = read_description(folder / model.folder)
        for path in sorted((folder / model.folder).glob("*.onnx")):
            check_weights_are_beside(path)
    except CompressError as error:
        return [str(error)]
    except Exception as error:  # whatever the libraries raise over files that are not what they should be
        return [f"{model.folder}: cannot be read ({error!r:.200})"]
    other = description.name != model.name
    return [f"{model.folder} describes {description.name}, not {model.name}"] if other else []


def _judged(what: str, problem_of: Callable[[], tuple[str | None, str]]) -> Check:
    try:
        problem, told = problem_of()
    except (UnavailableError, ImportError) as error:
        return Check(what=what, passed=None, found=str(error))
    except Exception as error:  # whatever the libraries raise over files that are not what they should be
        found = str(error) if isinstance(error, CompressError) else f"does not run ({error!r:.200})"
        return Check(what=what, passed=False, found=found)
    return Check(what=what, passed=problem is None, found=problem or told)


def _what(model: BundleModel) -> str:
    return f"{model.name} says what it said"


def main() -> None:
    """Try the models that standard input names."""
    question = _ModelsQuestion.model_validate_json(sys.stdin.read())
    answers = answers_alone()
    for model in question.models:
        print(_tried(question.folder, model).model_dump_json(), file=answers, flush=True)


if __name__ == "__main__":
    main()
