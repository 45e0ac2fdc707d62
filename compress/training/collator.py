"""Batches of examples: padded, and a share of their tokens hidden."""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from compress.data.encode import pad, padded
from compress.tasks.contract import NO_LABEL, Example


class Collator:
    """Pads a batch to its longest row and hides a share of the tokens of training rows, as regularisation.

    What is hidden of a row depends on the seed, the epoch and the row alone: not on the batch, the process, or whether
    the training was interrupted.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, mask_probability: float, seed: int):
        self._pad_id = tokenizer.pad_token_id
        self._mask_id = tokenizer.mask_token_id
        self._special = np.array(tokenizer.all_special_ids)
        self._probability = mask_probability if self._mask_id is not None else 0.0
        self._seed = seed
        self.epoch = 0

    def __call__(self, batch: list[Example]) -> dict[str, torch.Tensor]:
        inputs = pad(batch, self._pad_id)
        if self._probability and "number" in batch[0]:
            self._hide(inputs["input_ids"], [example["number"] for example in batch])
        inputs["labels"] = padded([example["labels"] for example in batch], NO_LABEL)
        return {name: torch.from_numpy(array) for name, array in inputs.items()}

    def _hide(self, ids: np.ndarray, numbers: list[int]) -> None:
        draws = np.stack(
            [
                np.random.Generator(np.random.Philox(key=[self._seed, (self.epoch << 40) + number])).random(
                    ids.shape[1], dtype=np.float32
                )
                for number in numbers
            ]
        )
        ids[(draws < self._probability) & ~np.isin(ids, self._special)] = self._mask_id
