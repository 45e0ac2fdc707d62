"""Text in, predictions out, in Triton's Python backend: tokenizer, model and decoding by `compress.load`.

Triton's Python needs the packages of `compress-export` and the model's runtime, but not PyTorch (engines do).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from compress import load
from compress.console import plain
from compress.serving.tensors import answers_to, output_arrays, read_inputs

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
        return answers_to(self._model, read_inputs(self._model, asked))

    def _asked(self, request: Any) -> Asked:
        arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        asked = {name: [row[0].decode() for row in array] for name, array in arrays.items()}
        if not asked["TEXT"]:
            raise ValueError("TEXT: there are no texts; give at least one")
        return asked

    def _response(self, answers: Sequence[Any]) -> Any:
        arrays = output_arrays(answers)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in arrays.items()])
