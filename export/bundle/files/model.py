"""Text in, predictions out, in Triton's Python backend: tokenizer, model and decoding by `compress.load`.

Triton's Python needs the packages of `compress-export` and the model's runtime, but not PyTorch (engines do).
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from compress import load
from compress.errors import CompressError


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        threads = config.get("parameters", {}).get("threads", {}).get("string_value")
        folder = Path(args["model_repository"]) / args["model_version"]
        self._model = load(folder, threads=int(threads) if threads else None)
        self._inputs = [value["name"] for value in config["input"]]
        self._words = self._model.description.task == "token-classification"

    def execute(self, requests):
        """Answer to all requests at once: the client makes batches of similar length of their texts."""
        asked = [{name: self._strings(request, name) for name in self._inputs} for request in requests]
        together = {name: [text for each in asked for text in each[name]] for name in self._inputs}
        try:
            texts = [json.loads(text) for text in together["TEXT"]] if self._words else together["TEXT"]
            answers = self._model.predict(texts, together.get("TEXT_PAIR"), together.get("LANGUAGES"))
        except (CompressError, ValueError) as error:
            failed = pb_utils.TritonError(str(error))
            return [pb_utils.InferenceResponse(error=failed) for _ in requests]
        responses = []
        for each in asked:
            own, answers = answers[: len(each["TEXT"])], answers[len(each["TEXT"]) :]
            responses.append(pb_utils.InferenceResponse(self._tensors(own)))
        return responses

    def _strings(self, request, name):
        return [row[0].decode() for row in pb_utils.get_input_tensor_by_name(request, name).as_numpy()]

    def _tensors(self, answers):
        said = [answer.prediction for answer in answers]
        texts = [text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for text in said]
        predictions = np.array([[text.encode()] for text in texts], dtype=object)
        tensors = [pb_utils.Tensor("PREDICTION", predictions)]
        if answers[0].probabilities is not None:
            probabilities = np.array([list(answer.probabilities.values()) for answer in answers], dtype=np.float32)
            tensors.append(pb_utils.Tensor("PROBABILITIES", probabilities))
        return tensors
