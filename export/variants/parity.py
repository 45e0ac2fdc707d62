"""Parity: how far a variant's outputs are from its parent's on real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.data.batches import run_batches
from compress.data.encode import pad, padded
from compress.errors import RejectedVariantError
from compress.metrics.comparison import agreement
from compress.metrics.labels import label_agreement
from compress.metrics.numbers import spread
from compress.metrics.vectors import cosines
from compress.recipe.export import Export, Tolerance
from compress.runtimes.generation import log_probabilities, open_decoder
from compress.tasks.contract import NO_LABEL, Example, Prediction, Task
from compress.variants.registry import Variant
from export.variants.summary import Parity

if TYPE_CHECKING:
    import torch

_BATCH_SIZE = 32
_SURE = 0.001
"""The chance that any label of a variant which agrees as often as it must is taken for lost."""


@dataclass(frozen=True)
class Answers:
    """Outputs of a model, one array an example (of one that writes: how likely it finds the rows' own text), and its
    predictions, one a row, which may be labels of a closed set."""

    outputs: list[np.ndarray]
    predictions: list[Prediction]
    labelled: bool = False


def log_probabilities_of_labels(
    folder: Path, task: Task, examples: Sequence[Example], pad_id: int, trust_remote_code: bool = False
) -> list[np.ndarray]:
    """How likely a model that writes finds each token of the rows' own text, natural logarithm, float32 (tokens,).

    :param trust_remote_code: Run code that lies beside a PyTorch model.
    """
    import torch
    from transformers import AutoConfig

    from compress.models.load import model_class

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    decoder = open_decoder(folder)
    if decoder is not None:

        def logits_of(given: dict[str, torch.Tensor]) -> np.ndarray:
            arrays = {name: tensor.numpy() for name, tensor in given.items()}
            return decoder.begin(arrays, arrays.pop("decoder_input_ids"))[0]
    else:
        kind = model_class(task)
        model = kind.from_pretrained(folder, use_safetensors=True, trust_remote_code=trust_remote_code).eval()

        def logits_of(given: dict[str, torch.Tensor]) -> np.ndarray:
            with torch.inference_mode():
                logits: np.ndarray = model(**given).logits.float().numpy()
                return logits

    def run(indices: list[int]) -> list[np.ndarray]:
        batch = [examples[index] for index in indices]
        labels = padded([example["labels"] for example in batch], NO_LABEL)
        inputs = {name: torch.from_numpy(array) for name, array in pad(batch, pad_id).items()}
        logits = logits_of(task.model_inputs(config, inputs, torch.from_numpy(labels)))
        chosen = np.take_along_axis(log_probabilities(logits), np.maximum(labels, 0)[:, :, None], axis=2)[:, :, 0]
        return [values[wanted != NO_LABEL] for values, wanted in zip(chosen, labels, strict=True)]

    found: dict[int, np.ndarray] = {}
    for indices, values in run_batches(examples, _BATCH_SIZE, run, config.vocab_size):
        found.update(zip(indices, values, strict=True))
    return [found[index] for index in range(len(examples))]


def measure_parity(task: Task, parent: Answers, variant: Answers) -> Parity:
    """Compare what two models answer to the same rows; numbers in standard deviations of the parent's, of vectors what
    their cosines lack of 1."""
    if task.VECTORS:
        return _parity_of_vectors(task, parent, variant)
    one, other = (np.concatenate([output.ravel() for output in answers.outputs]) for answers in (parent, variant))
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    if task.NUMBERS:
        difference /= spread(one)
    agreed = task.agreed(parent.predictions, variant.predictions)
    return Parity(
        rows=len(parent.predictions),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=agreement(agreed),
        labels=dict(label_agreement(agreed)) if parent.labelled else {},
    )


def _parity_of_vectors(task: Task, parent: Answers, variant: Answers) -> Parity:
    found = cosines(np.stack(parent.outputs), np.stack(variant.outputs))
    return Parity(
        rows=len(parent.predictions),
        max_difference=float(1 - found.min()),
        mean_difference=float(1 - found.mean()),
        agreement=agreement(task.agreed(parent.predictions, variant.predictions)),
        cosine=float(found.min()),
    )


def tolerance_for(variant: Variant, settings: Export) -> Tolerance:
    """What a variant may differ from its parent: int8 with embeddings in 4 bits as much as what is in 4 bits."""
    in_four_bits = variant.limits == "int8" and "CPU" in variant.runs_on and settings.embedding_bits == 4
    tolerance: Tolerance = getattr(settings.parity, "int4" if in_four_bits else variant.limits)
    return tolerance


def lost_labels(parity: Parity, agreement: float) -> list[str]:
    """Labels that agree less often than all rows must, by more than chance explains."""
    from scipy.stats import binom

    return [
        label
        for label, found in parity.labels.items()
        if binom.cdf(int(found.agreement * found.rows + 0.5), found.rows, agreement) < _SURE / len(parity.labels)
    ]


def check_parity(name: str, parent: str, parity: Parity, tolerance: Tolerance) -> None:
    """Accept a variant or refuse it.

    :raises RejectedVariantError: Naming the variant, its parent, the figure and the limit.
    """
    if parity.cosine is not None:
        problems = _too_far(parity.cosine, tolerance)
    else:
        problems = _too_different(parent, parity, tolerance)
    if problems:
        raise RejectedVariantError(
            f"{name}: too far from {parent} on {parity.rows} rows: {' and '.join(problems)}; "
            "nothing was written; raise export.parity in the recipe only if you can accept this"
        )


def _too_far(cosine: float, tolerance: Tolerance) -> list[str]:
    if cosine >= tolerance.cosine:
        return []
    return [f"the cosine of a text's two vectors is {cosine:.5f} (limit {tolerance.cosine:g})"]


def _too_different(parent: str, parity: Parity, tolerance: Tolerance) -> list[str]:
    problems = []
    if not parity.max_difference <= tolerance.max_difference:  # also for not-a-number
        problems.append(f"outputs differ by up to {parity.max_difference:.4g} (limit {tolerance.max_difference:g})")
    if parity.agreement < tolerance.agreement:
        problems.append(
            f"{100 * parity.agreement:.2f} % of the predictions agree (limit {100 * tolerance.agreement:g} %)"
        )
    for label in lost_labels(parity, tolerance.agreement):
        found = parity.labels[label]
        problems.append(f"where {parent} predicts '{label}' ({found.rows} rows), {100 * found.agreement:.1f} % agree")
    return problems
