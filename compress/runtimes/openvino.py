"""OpenVINO: a folder in, arrays out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import CompressError, UnavailableError
from compress.runtimes.contract import Predict
from compress.runtimes.generation import State, Tokens
from compress.targets import without_bf16
from compress.tasks.contract import Task
from compress.threads import pool_size

# The names that Optimum looks for.
OPENVINO_MODEL = "openvino_model.xml"
OPENVINO_ENCODER, OPENVINO_DECODER = "openvino_encoder_model.xml", "openvino_decoder_model.xml"
BEAM_ORIGINS = "beam_idx"
"""The input of a decoder that tells from which of the sequences before each one goes on."""
_PRECISION = ("compress", "inference_precision")  # in what a file says to runtimes
_CACHE_PRECISION = ("runtime_options", "KV_CACHE_PRECISION")  # the same, to OpenVINO itself
# What it keeps of each shape that it has seen; by default 5,000, which lengths of 1 to 512 fill with a gigabyte.
_KEPT_PRIMITIVES = 256


def openvino_models(task: Task) -> tuple[str, ...]:
    """The files of a task's models, whose weights lie beside them."""
    return (OPENVINO_ENCODER, OPENVINO_DECODER) if task.GENERATES else (OPENVINO_MODEL,)


def load_openvino(folder: Path, task: Task, threads: int | None = None) -> Predict:
    """Open an encoder's graph in OpenVINO, on the CPU, in the precision that its file says.

    :raises UnavailableError: If OpenVINO is not installed, or the file says bf16 and the processor has none.
    :raises CompressError: If OpenVINO cannot read it, or run it.
    """
    path = folder / OPENVINO_MODEL
    request = _request(openvino_core(), path, threads)
    names = {value.any_name for value in request.model_inputs}

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with reason_in_one_line(path):
            found = request.infer({name: array for name, array in inputs.items() if name in names})
        outputs = [found[name].copy() for name in task.OUTPUTS]
        return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)

    return predict


class OpenVinoDecoder:
    """The encoder and the decoder of a translation folder in OpenVINO, on the CPU, in the precision that they say.

    The decoder holds keys and values itself: one translation runs at a time. It reads one token after the other.
    """

    def __init__(self, folder: Path, threads: int | None = None):
        """:raises CompressError: As for `load_openvino`."""
        core, self._folder = openvino_core(), folder
        self._encoder, self._decoder = (
            _request(core, folder / name, threads) for name in (OPENVINO_ENCODER, OPENVINO_DECODER)
        )
        self.tokens = Tokens.of(json.loads((folder / "config.json").read_text("utf-8")))

    def begin(self, inputs: Mapping[str, np.ndarray], prompt: np.ndarray, beams: int = 1) -> tuple[np.ndarray, State]:
        """As `Decoder` says it."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        with reason_in_one_line(self._folder / OPENVINO_ENCODER):
            states = self._encoder.infer({"input_ids": ids, "attention_mask": mask})["last_hidden_state"]
        encoded = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        given = {name: np.repeat(array, beams, axis=0) for name, array in encoded.items()}
        prompt = np.repeat(prompt, beams, axis=0)
        self._decoder.reset_state()
        state: State = {**given, BEAM_ORIGINS: np.arange(len(prompt), dtype=np.int32)}
        logits = []
        for token in np.split(prompt, prompt.shape[1], axis=1):
            found, state = self.step(token, state)
            logits.append(found)
        return np.stack(logits, axis=1), state

    def step(self, last: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """As `Decoder` says it; what a step is not given stays what it was in the last one."""
        with reason_in_one_line(self._folder / OPENVINO_DECODER):
            logits = self._decoder.infer({"input_ids": last, **state})["logits"]
        return logits[:, -1], {BEAM_ORIGINS: np.arange(len(last), dtype=np.int32)}

    def reordered(self, state: State, origins: np.ndarray) -> State:
        """As `Decoder` says it."""
        return {BEAM_ORIGINS: state[BEAM_ORIGINS][origins]}


def mark_precision(model: Any, precision: str) -> None:
    """Let a model's file say what it calculates in, ``f32`` or ``bf16``, what it holds of the tokens before included:
    by itself OpenVINO keeps keys and values in 8 bits."""
    if precision == "bf16":
        model.set_rt_info(precision, list(_PRECISION))
    if any(value.any_name == BEAM_ORIGINS for value in model.inputs):
        model.set_rt_info(precision, list(_CACHE_PRECISION))


def _request(core: Any, path: Path, threads: int | None) -> Any:
    """What runs a model that lies in a file."""
    with reason_in_one_line(path):
        model = core.read_model(path)
    settings: dict[str, str | int] = {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    # OpenVINO takes bf16 by itself where the processor has it, and so gives other answers than elsewhere.
    settings["INFERENCE_PRECISION_HINT"] = _precision_of(model, path.parent)
    settings["CPU_RUNTIME_CACHE_CAPACITY"] = _KEPT_PRIMITIVES
    if size := pool_size(threads):
        settings["INFERENCE_NUM_THREADS"] = size
    with reason_in_one_line(path):
        return core.compile_model(model, "CPU", settings).create_infer_request()


@contextmanager
def reason_in_one_line(path: Path, mend: str = "make the folder or get it again") -> Iterator[None]:
    """OpenVINO says first in which of its own files it stopped, and why at last.

    :param path: Of what it reads or runs.
    """
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise CompressError(f"{path}: OpenVINO cannot run it ({reason:.300}); {mend}") from error


def _precision_of(model: Any, folder: Path) -> str:
    if not model.has_rt_info(list(_PRECISION)):
        return "f32"
    if reason := without_bf16():
        raise UnavailableError(f"{folder}: {reason}; run another variant here")
    return "bf16"


def openvino_core() -> Any:
    """OpenVINO's entry point.

    :raises UnavailableError: If it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UnavailableError("OpenVINO is not installed; install the extra `openvino`") from error
    return openvino.Core()
