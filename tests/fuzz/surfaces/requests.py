"""Requests to a served model: `compress.load(...).predict(...)`, and Triton's input of text."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from attempts import Surface, Wants, WrongAnswer
from material import Material

import compress

REQUEST = "request.txt"
GOOD = "12:30"
ALPHABETS = (
    "abc ",
    "0123456789:",
    "äöü€",
    "日本語",
    "\u0301\u0327",
    "\u200d\u202e\ufeff",
    "\0\x1b\r\n",
    "😀👩",
    "\ud800\udc00",
    "[/]{}%",
)
STRANGE = (
    "None", "5", "1.5", "True", "b'text'", "b'\\xff'", "[]", "['a']", "{}", "{'text': 'a'}", "object()", "float('nan')",
    "'\\ud800'", "''", "' '", "'\\0'", "'a' * 1_000_000", "np.array(['a'])", "np.str_('a')",
    "[[[[]]]]", "lambda: 1", "iter(['a'])", "'\\u0301' * 10_000", "10 ** 4000", "(x for x in ['a'])", "range(3)",
    "type('T', (str,), {})('a')",
)  # fmt: skip
"""Expressions of Python for what somebody may send."""


def ask(folder: Path, material: Material) -> None:
    """Send the request to both, beside a good one, and compare the good one's answer with what it is alone."""
    expression = (folder / REQUEST).read_text("utf-8", "surrogatepass")
    sent = eval(expression, {"np": np})
    model = compress.load(material.served, threads=1)
    (alone,) = model.predict([GOOD])
    _ask_triton(material.served, sent, alone)
    answers = model.predict(*sent) if isinstance(sent, tuple) else model.predict(sent)
    for answer in answers:
        _check(answer, model.labels)
    if isinstance(sent, list):
        together = model.predict([*sent, GOOD])
        if not _near(together[-1], alone):
            raise WrongAnswer(f"{GOOD!r} is {alone} alone, {together[-1]} beside the others")


def _check(answer: Any, labels: list[str]) -> None:
    said = answer.probabilities
    if answer.prediction not in labels or list(said) != labels or not math.isclose(sum(said.values()), 1, abs_tol=1e-4):
        raise WrongAnswer(f"the answer is {answer}")


def _near(one: Any, other: Any) -> bool:
    return np.allclose(list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-4)


class _Tensor:
    """What Triton's `pb_utils.Tensor` does of it that the model uses."""

    def __init__(self, name: str, array: np.ndarray):
        self.name, self._array = name, array

    def as_numpy(self) -> np.ndarray:
        return self._array


def _ask_triton(folder: Path, sent: Any, alone: Any) -> None:
    """The bad request and a good one, joined in a batch as Triton joins those of two clients."""
    utils: Any = ModuleType("triton_python_backend_utils")
    utils.Tensor = _Tensor
    utils.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(tensors=tensors, error=error)
    utils.get_input_tensor_by_name = lambda request, name: request[name]
    utils.TritonError = str
    sys.modules["triton_python_backend_utils"] = utils
    space: dict[str, Any] = {}
    exec(compile((folder / "model.py").read_text("utf-8"), "model.py", "exec"), space)
    model = space["TritonPythonModel"]()
    config = {"input": [{"name": "TEXT"}], "parameters": {"threads": {"string_value": "1"}}}
    model.initialize(
        {"model_config": json.dumps(config), "model_repository": str(folder.parent), "model_version": folder.name}
    )
    good = {"TEXT": _Tensor("TEXT", np.array([[GOOD.encode()]], dtype=object))}
    bad = {"TEXT": _Tensor("TEXT", _as_bytes(sent))}
    _, answer = model.execute([bad, good])
    if answer.error is not None:
        raise WrongAnswer(f"a good request fails with a bad one: {answer.error}")
    if not np.allclose(answer.tensors[1].as_numpy()[0], list(alone.probabilities.values()), atol=1e-4):
        raise WrongAnswer("a good request is answered otherwise beside a bad one")


def _as_bytes(sent: Any) -> np.ndarray:
    """What a client sends to Triton: rows of bytes."""
    values = sent if isinstance(sent, list) else [sent]
    raw = [
        value if isinstance(value, bytes) else str(value)[: 10**6].encode("utf-8", "surrogatepass") for value in values
    ]
    return np.array([[value] for value in raw] or np.empty((0, 1)), dtype=object)


def draw(random_: random.Random, folder: Path) -> str:
    """A list of texts of strange characters and of what is no text, or other arguments."""

    def text() -> str:
        length = random_.choice((0, 1, 5, 100, 10_000))
        signs = "".join(random_.choice(ALPHABETS) for _ in range(3))
        return ascii("".join(random_.choice(signs) for _ in range(length)))

    parts = [text() if random_.random() < 0.8 else random_.choice(STRANGE) for _ in range(random_.choice((1, 2, 5)))]
    expression = f"[{', '.join(parts)}]"
    if random_.random() < 0.15:
        expression = f"({expression}, {random_.choice((*STRANGE, expression))})"
    (folder / REQUEST).write_text(expression, "utf-8")
    return expression[:200]


def surface(material: Material) -> Surface:
    def written(expression: str) -> Any:
        return lambda folder: (folder / REQUEST).write_text(expression, "utf-8") and None

    cases: dict[str, tuple[Any, Wants]] = {
        f"texts are {expression}": (written(expression), "either") for expression in STRANGE
    }
    cases |= {f"a text is {expression}": (written(f"[{expression}]"), "either") for expression in STRANGE}
    cases |= {f"a pair is {expression}": (written(f"(['a'], {expression})"), "either") for expression in STRANGE}
    cases |= {
        f"a language is {expression}": (written(f"(['a'], None, {expression})"), "either") for expression in STRANGE
    }
    return Surface("requests", lambda folder: ask(folder, material), cases, draw, draws=500, places=("predict: ",))
