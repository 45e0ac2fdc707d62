"""The examples of a training, on disk, with what else goes with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.table import EncodedTable, RowTable
from compress.tasks.contract import Encode, Example


class TrainingRows(Sequence[Example]):
    """Examples on disk, with what else goes with each in columns; those that are trained on have a ``number``."""

    def __init__(self, encoded: EncodedTable, columns: Mapping[str, np.ndarray]):
        self._encoded = encoded
        self._columns = columns
        self.lengths = encoded.lengths
        self.rows = encoded.rows
        self.values_of = encoded.values_of

    @property
    def labels(self) -> np.ndarray:
        """The labels of all examples, one after the other."""
        return self._encoded.values_of("labels")

    def column(self, name: str) -> np.ndarray | None:
        """One of the columns; none where there is no such."""
        return self._columns.get(name)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> TrainingRows:
        """The same examples with more columns."""
        return TrainingRows(self._encoded, {**self._columns, **columns})

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Example]:
        """Examples of a batch, read together: the loader asks for them so."""
        rows = self._encoded.at(indices)
        return [
            {**row, **{name: values[index] for name, values in self._columns.items()}}
            for row, index in zip(rows, indices, strict=True)
        ]


@dataclass(frozen=True)
class TrainingData:
    """The examples of a training, and the language of each."""

    train: TrainingRows
    validation: TrainingRows
    train_languages: np.ndarray
    validation_languages: np.ndarray


def training_data(train_rows: RowTable, validation_rows: RowTable, encode: Encode, store: Path) -> TrainingData:
    """Encode the rows; those of the validation are put in order of length, so that little of it is padding.

    :param store: Folder for the tokens.
    """
    encoded = train_rows.encoded(encode, store / "train.arrow")
    validation = validation_rows.encoded(encode, store / "validation.arrow")
    validation = validation.select(np.argsort(validation.lengths, kind="stable"))
    return TrainingData(
        TrainingRows(encoded, {"number": np.arange(len(encoded))}),
        TrainingRows(validation, {}),
        train_rows.column("lang")[encoded.rows],
        validation_rows.column("lang")[validation.rows],
    )
