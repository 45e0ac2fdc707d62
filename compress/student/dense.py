"""The first weights of the layer that brings a narrower student's vectors to where its teacher's are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from compress.data.batches import batches_by_length
from compress.data.encode import spread_over_languages
from compress.models.sentence import Dense, SentenceEncoder
from compress.models.sentence_folder import SentenceHead
from compress.tasks.contract import Example
from compress.training.rows import TrainingData

_SAMPLE_ROWS = 4096
_BATCH = 64
_RIDGE = 1e-3  # of how much the pooled numbers vary


def fit_dense(
    model: nn.Module,
    teacher: SentenceHead,
    data: TrainingData,
    collate: Callable[[list[Example]], Mapping[str, Tensor]],
    seed: int,
) -> None:
    """Bring what a student pools before its training as near to its teacher's vectors as a Dense layer of its own can:
    least squares over a sample of training rows, drawn evenly over their languages.

    A student without such a layer is left as it is, and so is one that has layers of its teacher's, which mean
    something already, and say nothing of what is wanted before them.

    :param teacher: What follows the teacher's transformer.
    :param collate: Makes a batch of examples, with ``teacher_logits``, float (rows, numbers).
    """
    if not isinstance(model, SentenceEncoder) or any(module.kind != "Normalize" for module in teacher.modules[1:]):
        return
    dense = model.head[1] if len(model.head) > 1 else None
    if not isinstance(dense, Dense):
        return
    from sklearn.linear_model import Ridge

    examples = data.train.__getitems__(spread_over_languages(data.train_languages, _SAMPLE_ROWS, seed))
    found: list[np.ndarray] = []
    wanted: list[np.ndarray] = []
    model.eval()
    with torch.inference_mode():
        for rows in batches_by_length(examples, _BATCH):
            batch = collate([examples[index] for index in rows])
            inputs = {name: batch[name] for name in batch if name in model.accepted}
            states = model(**inputs)["last_hidden_state"]
            found.append(model.head[0](states, batch["attention_mask"]).double().numpy())
            wanted.append(batch["teacher_logits"].double().numpy())
    pooled = np.concatenate(found)
    line = Ridge(alpha=_RIDGE * len(pooled) * pooled.var(axis=0).mean(), solver="cholesky")
    line.fit(pooled, np.concatenate(wanted))
    with torch.no_grad():
        dense.linear.weight.copy_(torch.from_numpy(line.coef_))
        dense.linear.bias.copy_(torch.from_numpy(line.intercept_))
