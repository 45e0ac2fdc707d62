"""Text in, predictions out, in Triton's Python backend: tokenizer, model and decoding by `compress.load`.

Triton's Python needs the packages of `compress-export` and the model's runtime, but not PyTorch (engines do).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from compress import load
from compress.console import plain
from compress.serving.client import Answer
from compress.tasks.registry import task_named

Asked = Mapping[str, Sequence[str]]
"""The texts of each input, by its name."""


class TritonPythonModel:
    """What Triton calls; the interface is its Python backend's."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model of the version folder."""
        config = json.loads(args["model_config"])
        told = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        threads, memory = (int(told[name]) if name in told else None for name in ("threads", "memory"))
        self._model = load(Path(args["model_repository"]) / args["model_version"], None, threads, memory)
        self._inputs = [value["name"] for value in config["input"]]
        self._task = task_named(self._model.description.task)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer to all requests at once: the client makes batches of similar length of their texts."""
        try:
            asked = [self._asked(request) for request in requests]
            together = {name: [text for each in asked for text in each[name]] for name in self._inputs}
            answers = iter(self._said(together))
        except Exception:  # whatever one of them may raise: it must not fail the others
            return [self._alone(request) for request in requests]
        return [self._response([next(answers) for _ in each["TEXT"]]) for each in asked]

    def _alone(self, request: Any) -> Any:
        try:
            return self._response(self._said(self._asked(request)))
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(plain(str(error) or type(error).__name__)))

    def _said(self, asked: Asked) -> list[Any]:
        """Vectors, where the model gives some, else answers."""
        if self._task.VECTORS:
            return list(self._model.encode(asked["TEXT"], [kind or None for kind in asked["KIND"]]))
        return list(self._answers(asked))

    def _answers(self, asked: Asked) -> list[Answer]:
        texts = [self._task.served_text(text) for text in asked["TEXT"]]
        return self._model.predict(texts, asked.get("TEXT_PAIR"), asked.get("LANGUAGES"))

    def _asked(self, request: Any) -> Asked:
        arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        return {name: [row[0].decode() for row in array] for name, array in arrays.items()}

    def _response(self, answers: Sequence[Any]) -> Any:
        if self._task.VECTORS:
            return pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", np.stack(answers))])
        said = [answer.prediction for answer in answers]
        texts = [text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for text in said]
        predictions = np.array([[text.encode()] for text in texts], dtype=object)
        tensors = [pb_utils.Tensor("PREDICTION", predictions)]
        sure = [list(answer.probabilities.values()) for answer in answers if answer.probabilities is not None]
        if sure:
            tensors.append(pb_utils.Tensor("PROBABILITIES", np.array(sure, dtype=np.float32)))
        return pb_utils.InferenceResponse(tensors)
