"""What the page's own modules make of outputs is what Python makes of them; no library and no browser is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from compress.runtimes.generation import Search, State, Tokens, generate_tokens
from compress.serving.format import Description
from compress.tasks.registry import TaskName, task_named
from compress.tasks.rows import Row
from export.bundle.web.stage import PAGE

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
LABELS = ["O", "b", "c"]
CONTEXT = "Unter einem Dach \U0001f600 wohnt é, der Nachbar von nebenan"
_DECODE = """
import { readFileSync } from "node:fs";
const [, page] = process.argv;
const { decoded } = await import(`${page}/tasks.js`);
const asked = JSON.parse(readFileSync(0, "utf8"));
const told = ({ model, question, examples, outputs }) => decoded(model, question, examples, outputs);
console.log(JSON.stringify(asked.map(told)));
"""


def _model(task: TaskName, **fields: Any) -> Description:
    pairs = task in ("question-answering", "reranking")
    common = {"name": "x", "runtime": "ONNX Runtime", "target": "any", "max_length": 16}
    return Description(task=task, pairs=pairs, labels=LABELS if not pairs else [], **common, **fields)


def _windows(generator: np.random.Generator) -> list[dict[str, Any]]:
    """Windows over the context, whose first tokens are those of a question."""
    cuts = np.sort(generator.choice(np.arange(1, len(CONTEXT)), 40, replace=False)).tolist()
    spans = list(zip([0, *cuts], [*cuts, len(CONTEXT)], strict=True))
    parts = [[(-1, -1)] * 3 + part + [(-1, -1)] for part in (spans[:36], spans[30:])]
    return [
        {"row": 0, "input_ids": [0] * len(part), "starts": [one for one, _ in part], "ends": [one for _, one in part]}
        for part in parts
    ]


def _cases(generator: np.random.Generator) -> list[tuple[Description, Row, list[dict[str, Any]]]]:
    one = [{"row": 0, "input_ids": [0]}]
    words = [
        {"row": 0, "input_ids": [0] * 4, "words": [-1, 0, 1, -1]},
        {"row": 0, "input_ids": [0] * 3, "words": [-1, 3, -1]},
    ]
    text = Row("a text", "", "")
    return [
        *((_model("text-classification"), text, one) for _ in range(5)),
        *((_model("multi-label-classification", thresholds=[0.2, 0.5, 0.9]), text, one) for _ in range(5)),
        (_model("multi-label-classification"), text, one),
        (_model("token-classification"), Row(["a", "b", "c", "d"], "", ""), words),
        (_model("regression"), text, one),
        (_model("reranking", activation="sigmoid"), Row("a", "", "", "b"), one),
        (_model("reranking", activation="identity"), Row("a", "", "", "b"), one),
        *(
            (_model("question-answering", thresholds=thresholds), Row("a", "", "", CONTEXT), _windows(generator))
            for thresholds in ([], [], [], [-3.0], [0.5])
        ),
    ]


def _in_units(places: list[int]) -> list[int]:
    """Places in the context as JavaScript counts them."""
    return [place if place < 0 else len(CONTEXT[:place].encode("utf-16-le")) // 2 for place in places]


def _in_page(example: dict[str, Any]) -> dict[str, Any]:
    return {**example, **{side: _in_units(example[side]) for side in ("starts", "ends") if side in example}}


def test_predictions_are_those_of_python():
    generator, asked, wanted = np.random.default_rng(0), [], []
    for model, row, examples in _cases(generator):
        task = task_named(model.task)
        width = {"regression": 1, "reranking": 1, "question-answering": 2}.get(model.task, len(LABELS))
        sizes = [(len(one["input_ids"]), width) if task.OUTPUT_AXIS else (width,) for one in examples]
        outputs = [generator.normal(0, 3, size).astype(np.float32) for size in sizes]
        (said,) = task.decode(outputs, examples, [row], model.labels, None, model.thresholds)
        wanted.append(task.told(said, model.activation))
        question = {"text": row.text, "text_pair": row.text_pair}
        flat = [output.ravel().astype(float).tolist() for output in outputs]
        asked.append(
            {
                "model": model.model_dump(mode="json"),
                "question": question,
                "examples": [_in_page(one) for one in examples],
                "outputs": flat,
            }
        )
    command = ["node", "--no-warnings", "--input-type=module", "-e", _DECODE, str(PAGE)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    found = [answer["prediction"] for answer in json.loads(done.stdout)]
    assert len({str(said) for said in wanted}) > 10
    assert found == [pytest.approx(said, rel=1e-12) if isinstance(said, float) else said for said in wanted]


_SEARCH = """
import { readFileSync } from "node:fs";
const [, page] = process.argv;
const { written } = await import(`${page}/search.js`);
const { table, asked } = JSON.parse(readFileSync(0, "utf8"));

/** What follows depends on all that was written, which `reorder` must carry along. */
class Remembering {
  tokens = { start: 1, end: 2, pad: 0 };
  begin({ start }) {
    this.states = [start];
    return this.logits();
  }
  step(last) {
    this.states = this.states.map((state, row) => (7 * state + last[row]) % table.length);
    return this.logits();
  }
  logits() {
    return this.states.map((state) => Float32Array.from(table[state]));
  }
  spread(count) {
    this.states = new Array(count).fill(this.states[0]);
  }
  reorder(origins) {
    this.states = origins.map((origin) => this.states[origin]);
  }
}
const found = [];
for (const { start, search } of asked) found.push(await written(new Remembering(), { start }, search));
console.log(JSON.stringify(found));
"""


class _Remembering:
    """The same decoder in Python."""

    tokens = Tokens(start=1, end=2, pad=0)

    def __init__(self, table: np.ndarray, start: int):
        self._table, self._start = table, start

    def begin(self, inputs: Any, prompt: np.ndarray, beams: int = 1) -> tuple[np.ndarray, State]:
        states = np.full(len(prompt) * beams, self._start)
        return self._table[states][:, None].copy(), {"states": states}

    def step(self, last: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        states = (7 * state["states"] + last[:, 0]) % len(self._table)
        return self._table[states].copy(), {"states": states}

    def reordered(self, state: State, origins: np.ndarray) -> State:
        return {"states": state["states"][origins]}


def test_searches_write_the_tokens_of_python():
    table = np.random.default_rng(0).normal(0, 2, (97, 150)).astype(np.float32)
    table[:, 2] += 4  # ends are likely
    inputs = {"input_ids": np.zeros((1, 1), np.int64)}
    asked, wanted = [], []
    for start in range(12):
        for beams, penalty in ((1, 1.0), (2, 1.0), (4, 0.6), (3, 0.0), (4, -1.0)):
            search = Search(beams, penalty, 12)
            found = generate_tokens(_Remembering(table, start), inputs, search, 12)
            wanted.append([token for token in found[0].tolist() if token])
            settings = {"beams": beams, "length_penalty": penalty, "max_length": 12}
            asked.append({"start": start, "search": settings})
    question = json.dumps({"table": table.astype(float).tolist(), "asked": asked})
    command = ["node", "--no-warnings", "--input-type=module", "-e", _SEARCH, str(PAGE)]
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=True)
    assert len({len(tokens) for tokens in wanted}) > 4
    assert json.loads(done.stdout) == wanted
