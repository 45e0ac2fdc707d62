"""Translating with a decoder that remembers its keys and values: greedy and beam search in numpy.

The searches follow those of `transformers` step by step, so that a variant gives the same tokens as its PyTorch parent;
without PyTorch, which whoever serves a model does not need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from compress.recipe.recipe import Recipe

Generate = Callable[..., np.ndarray]
"""From padded sources, and perhaps the most tokens to write (``max_tokens``), to target tokens, int64 (rows, tokens):
without what the decoder was started with, padding after the end."""

State = Mapping[str, np.ndarray]
"""What a decoder remembers: arrays whose first axis runs over the sequences."""

_NEVER = np.float32(-1e9)
_BLOCK = 64  # scores of which the largest is found first
ENCODER, DECODER, DECODER_WITH_PAST = "encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"
MERGED = "decoder_model_merged.onnx"
"""Both decoders in one graph, for other people's clients."""


@dataclass(frozen=True)
class Search:
    """How translations are searched for."""

    beams: int
    length_penalty: float
    max_tokens: int

    @classmethod
    def of(cls, recipe: Recipe, beams: int | None = None) -> Search:
        """That of a recipe.

        :param beams: In place of the recipe's.
        """
        wanted = recipe.generation
        return cls(beams or wanted.beams, wanted.length_penalty, recipe.data.max_length)


@dataclass(frozen=True)
class Tokens:
    """Token numbers that a search must know."""

    start: int
    end: int
    pad: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Tokens:
        """Those of a model's configuration."""
        return cls(config["decoder_start_token_id"], config["eos_token_id"], config["pad_token_id"])


class Decoder(Protocol):
    """What a search asks: which tokens a model begins and ends with, and what may follow on others."""

    tokens: Tokens

    def begin(self, inputs: Mapping[str, np.ndarray], prompt: np.ndarray, beams: int = 1) -> tuple[np.ndarray, State]:
        """Read the sources and the first target tokens; logits, float32 (sequences, prompt, tokens), and the state.

        :param beams: Sequences of each source, which stand beside one another.
        """

    def step(self, last: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read one more token of each sequence, int64 (sequences, 1); logits, float32 (sequences, tokens)."""

    def reordered(self, state: State, origins: np.ndarray) -> State:
        """Let each sequence go on from another one with the same source, int64 (sequences,)."""


class OnnxDecoder:
    """The three graphs of a translation folder in ONNX Runtime, on the CPU."""

    def __init__(self, folder: Path, threads: int | None = None, opened: Callable[..., Any] | None = None):
        """:param opened: Opens a graph, in place of `compress.runtimes.onnx.onnx_session`."""
        from compress.runtimes.onnx import onnx_session

        sessions = [(opened or onnx_session)(folder / name, threads) for name in (ENCODER, DECODER, DECODER_WITH_PAST)]
        self._encoder, self._first, self._next = sessions
        self._next_outputs = [value.name for value in self._next.get_outputs()]
        self._first_outputs = [value.name for value in self._first.get_outputs()]
        self.tokens = Tokens.of(json.loads((folder / "config.json").read_text("utf-8")))

    def begin(self, inputs: Mapping[str, np.ndarray], prompt: np.ndarray, beams: int = 1) -> tuple[np.ndarray, State]:
        """As `Decoder` says it."""
        mask = inputs["attention_mask"]
        (states,) = self._encoder.run(None, {"input_ids": inputs["input_ids"], "attention_mask": mask})
        given = {"input_ids": prompt, "encoder_hidden_states": states, "encoder_attention_mask": mask}
        logits, *present = self._first.run(self._first_outputs, given)
        names = [name.replace("present", "past_key_values", 1) for name in self._first_outputs[1:]]
        state = {"encoder_attention_mask": mask, **dict(zip(names, present, strict=True))}
        if beams == 1:
            return logits, state
        return np.repeat(logits, beams, axis=0), {
            name: np.repeat(array, beams, axis=0) for name, array in state.items()
        }

    def step(self, last: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """As `Decoder` says it."""
        logits, *present = self._next.run(self._next_outputs, {"input_ids": last, **state})
        names = [name.replace("present", "past_key_values", 1) for name in self._next_outputs[1:]]
        return logits[:, -1], {**state, **dict(zip(names, present, strict=True))}

    def reordered(self, state: State, origins: np.ndarray) -> State:
        """As `Decoder` says it."""
        if (origins == np.arange(len(origins))).all():
            return state
        return {name: array[origins] if ".decoder." in name else array for name, array in state.items()}


def open_decoder(folder: Path, threads: int | None = None, *, cuda: bool = False) -> Decoder | None:
    """The graphs of a translation folder in their runtime; none where it holds none.

    :param cuda: Run ONNX on the GPU where ONNX Runtime can.
    """
    from compress.runtimes.onnx import onnx_session
    from compress.runtimes.openvino import OPENVINO_ENCODER, OpenVinoDecoder

    if (folder / OPENVINO_ENCODER).exists():
        return OpenVinoDecoder(folder, threads)
    if (folder / ENCODER).exists():
        return OnnxDecoder(folder, threads, partial(onnx_session, cuda=cuda))
    return None


def load_generator(
    folder: Path,
    search: Search,
    threads: int | None = None,
    *,
    cuda: bool = False,
    trust_remote_code: bool = False,
) -> Generate:
    """Load a translation folder: OpenVINO or ONNX where it holds graphs, else PyTorch, whose library then searches.

    :param cuda: Run ONNX on the GPU where ONNX Runtime can.
    :param trust_remote_code: Run code that lies beside a PyTorch model.
    """
    decoder = open_decoder(folder, threads, cuda=cuda)
    if decoder is not None:
        return lambda inputs, max_tokens=search.max_tokens: generate_tokens(decoder, inputs, search, max_tokens)
    import torch
    from transformers import AutoModelForSeq2SeqLM

    if threads:
        torch.set_num_threads(threads)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=trust_remote_code)
    return generator_with(model, search)


def generator_with(model: Any, search: Search) -> Generate:
    """Wrap a PyTorch model that is in memory already; the library searches."""
    import torch
    from transformers import GenerationConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    config = model.config
    # The model's own settings (forced tokens, number of beams) give way to the recipe's.
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        suppress_tokens=[config.pad_token_id],
        num_beams=search.beams,
        length_penalty=search.length_penalty,
    )

    def predict(inputs: dict[str, np.ndarray], max_tokens: int = search.max_tokens) -> np.ndarray:
        prompt = _prompt(inputs, config.decoder_start_token_id)
        tensors = {name: torch.from_numpy(inputs[name]).to(device) for name in ("input_ids", "attention_mask")}
        start = torch.from_numpy(prompt).to(device)
        with torch.inference_mode():
            written = model.generate(**tensors, decoder_input_ids=start, max_new_tokens=max_tokens)
        found: np.ndarray = written[:, prompt.shape[1] :].cpu().numpy()
        # Where padding is token 0, the library fills up with the end token.
        after_end = np.cumsum(found == config.eos_token_id, axis=1) - (found == config.eos_token_id) > 0
        return np.where(after_end, config.pad_token_id, found)

    return predict


def generate_tokens(decoder: Decoder, inputs: Mapping[str, np.ndarray], search: Search, max_tokens: int) -> np.ndarray:
    """Translate padded sources; int64 (rows, tokens), filled up with padding after the end."""
    if search.beams == 1:
        return _greedy(decoder, inputs, max_tokens)
    return _beams(decoder, inputs, search.beams, search.length_penalty, max_tokens)


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Log-softmax over the last axis."""
    from scipy.special import log_softmax

    return np.asarray(log_softmax(logits, axis=-1))


def _prompt(inputs: Mapping[str, np.ndarray], start: int) -> np.ndarray:
    rows = len(inputs["input_ids"])
    first = np.full((rows, 1), start, dtype=np.int64)
    return np.concatenate([first, inputs["prompt"]], axis=1) if "prompt" in inputs else first


def _greedy(decoder: Decoder, inputs: Mapping[str, np.ndarray], max_tokens: int) -> np.ndarray:
    tokens = decoder.tokens
    logits, state = decoder.begin(inputs, _prompt(inputs, tokens.start))
    logits, found = logits[:, -1], []
    finished = np.zeros(len(logits), dtype=bool)
    while True:
        logits[:, tokens.pad] = _NEVER
        best = np.where(finished, tokens.pad, logits.argmax(axis=-1))
        found.append(best)
        finished |= best == tokens.end
        if finished.all() or len(found) == max_tokens:
            return np.stack(found, axis=1)
        logits, state = decoder.step(best[:, None], state)


def _beams(
    decoder: Decoder, inputs: Mapping[str, np.ndarray], beams: int, length_penalty: float, max_tokens: int
) -> np.ndarray:
    """Beam search as `transformers` 5 does it, with its rule for stopping early."""
    tokens = decoder.tokens
    rows = len(inputs["input_ids"])
    logits, state = decoder.begin(inputs, _prompt(inputs, tokens.start), beams)
    logits = logits[:, -1]
    running = np.full((rows, beams, max_tokens), tokens.pad, dtype=np.int64)
    finished = running.copy()
    running_scores = np.tile(np.where(np.arange(beams) == 0, 0, _NEVER), (rows, 1)).astype(np.float32)
    finished_scores = np.full((rows, beams), _NEVER, dtype=np.float32)
    is_finished = np.zeros((rows, beams), dtype=bool)
    improvable = np.ones((rows, 1), dtype=bool)
    for length in range(max_tokens):
        highest, values = most_likely(logits, 2 * beams, tokens.pad)
        scores = (values.reshape(rows, beams, -1) + running_scores[:, :, None]).reshape(rows, -1)
        kept = largest_places(scores, 2 * beams)
        kept_scores = _taken(scores, kept)
        origin, token = kept // highest.shape[1], _taken(highest.reshape(rows, -1), kept)
        candidates = _taken(running, origin)
        candidates[:, :, length] = token
        stopped = (token == tokens.end) | (length + 1 == max_tokens)

        open_scores = np.where(stopped, kept_scores + _NEVER, kept_scores)
        chosen = largest_places(open_scores, beams)
        running = _taken(candidates, chosen)
        running_scores = _taken(open_scores, chosen)

        just_finished = stopped & (np.arange(2 * beams) < beams)
        penalised = kept_scores / np.float32((length + 1) ** length_penalty)
        penalised = penalised + np.where(just_finished & improvable, 0, _NEVER)
        merged = np.concatenate([finished_scores, penalised], axis=1)
        best = largest_places(merged, beams)
        finished = _taken(np.concatenate([finished, candidates], axis=1), best)
        is_finished = _taken(np.concatenate([is_finished, just_finished], axis=1), best)
        finished_scores = _taken(merged, best)

        hoped = running_scores[:, :1] / np.float32((length + 1) ** length_penalty)
        worst = np.where(is_finished, finished_scores.min(axis=1, keepdims=True), _NEVER)
        improvable &= (hoped > worst).any(axis=1, keepdims=True)
        if not improvable.any() or stopped.all():
            break
        rows_of = (np.arange(rows)[:, None] * beams + _taken(origin, chosen)).ravel()
        logits, state = decoder.step(running[:, :, length].reshape(-1, 1), decoder.reordered(state, rows_of))
    found = finished[:, 0]
    return found[:, : int((found != tokens.pad).sum(axis=1).max())]


def most_likely(logits: np.ndarray, count: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that are most likely after each sequence, and the logarithms of their probabilities, as
    `log_probabilities` gives them of all tokens; never padding."""
    highest = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
    logits[:, pad] = -np.inf
    found = largest_places(logits, min(count, logits.shape[1]))
    return found, _taken(logits, found) - highest - total


def largest_places(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the largest scores of each row, falling."""
    rows, width = scores.shape
    blocks = width // _BLOCK
    if blocks > count:  # whatever is among the largest lies in a block whose largest is
        tops = scores[:, : _BLOCK * blocks].reshape(rows, _BLOCK, blocks).max(axis=1)
        chosen = np.argpartition(-tops, count - 1, axis=1)[:, None, :count]
        places = (blocks * np.arange(_BLOCK)[:, None] + chosen).reshape(rows, -1)
        rest = np.broadcast_to(np.arange(_BLOCK * blocks, width), (rows, width % _BLOCK))
        places = np.concatenate([places, rest], axis=1)
    else:
        places = np.tile(np.arange(width), (rows, 1))
    values = _taken(scores, places)
    if count < values.shape[1] > _BLOCK:
        some = np.argpartition(-values, count - 1, axis=1)[:, :count]
        places, values = _taken(places, some), _taken(values, some)
    return _taken(places, np.argsort(-values, axis=1, kind="stable")[:, :count])


def _taken(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What is at some places of the second axis, others in each row: `np.take_along_axis` with less around it."""
    found: np.ndarray = array[np.arange(len(places))[:, None], places]
    return found
