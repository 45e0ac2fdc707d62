"""Trials of the search: one form of the student, made, timed and judged language by language; each is kept."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from compress.console import say
from compress.data.encode import pad, spread_over_languages
from compress.data.stage import DataSet
from compress.metrics.comparison import compare
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runs.files import content_hash, write_json
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.student.quantisation_aware import rounding_of_int8
from compress.student.stage import Continuation, distil
from compress.targets import Target
from compress.tasks.contract import Prediction
from compress.tasks.rows import Row
from export.onnx.fusion import fuse_graphs
from export.onnx.graphs import graph_bytes
from export.onnx.plain import export_onnx
from export.quantize.calibration import calibration_feeds
from export.quantize.int4 import quantize_int4
from export.quantize.int8 import Feeds, quantize_dynamic_int8, quantize_static_int8
from export.quantize.layers import quantisable_layers
from export.quantize.openvino import convert_openvino_int8

_TIMED_EXAMPLES = 64
_TIMED_ROUNDS = 20
_TIMED_SECONDS = 4.0
_SENSITIVITY_ROWS = 200


@dataclass(frozen=True)
class Candidate:
    """A form of the student.

    ``excluded`` are layers that stay in 32 bits, ``calibration`` is that of static int8, ``retrained`` says that the
    weights come from quantisation-aware distillation.
    """

    variant: str
    excluded: tuple[str, ...] = ()
    calibration: str | None = None
    retrained: bool = False

    @property
    def name(self) -> str:
        """For people."""
        parts = [self.variant]
        if self.calibration:
            parts.append(self.calibration)
        if self.excluded:
            parts.append(f"{len(self.excluded)} layer{'s' if len(self.excluded) > 1 else ''} in 32 bits")
        if self.retrained:
            parts.append("retrained")
        return ", ".join(parts)


class TrialRunner:
    """Makes candidates and tries them on validation rows: one half to search with, the other to confirm.

    :param folder: Keeps what is found; later searches in the same run read it.
    """

    def __init__(self, run: Run, data: DataSet, target: Target, folder: Path):
        self.run, self.data, self.target, self.folder = run, data, target, folder
        folder.mkdir(parents=True, exist_ok=True)
        rows = data.splits["validation"]
        chosen = spread_over_languages(rows.column("lang"), run.recipe.export.budget.rows, run.recipe.seed)
        self.rows: list[Row] = list(rows.select(chosen))
        self.tokenizer = load_tokenizer(str(run.path_of("student")))
        self.examples = run.task.encoder(self.tokenizer, run.recipe.data, data.labels)(self.rows)
        self._search = Search.of(run.recipe)

    @cached_property
    def halves(self) -> tuple[list[int], list[int]]:
        """Row numbers to search with and to confirm with; each language is divided evenly."""
        seen: dict[str, int] = {}
        halves: tuple[list[int], list[int]] = ([], [])
        for number, row in enumerate(self.rows):
            turn = seen[row.lang] = seen.get(row.lang, 0) + 1
            halves[turn % 2].append(number)
        return halves

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The usual forms, those of OpenVINO among them where it is installed."""
        usual = [Candidate("onnx-fused"), Candidate("onnx-int8")]
        usual += [Candidate("onnx-static", calibration=method) for method in ("minmax", "percentile", "entropy")]
        if importlib.util.find_spec("openvino") and not self.run.task.GENERATES:
            usual.append(Candidate("openvino-int8"))
        return [*usual, Candidate("onnx-int4")]

    def trial(self, candidate: Candidate) -> dict[str, Any]:
        """Size, latency at batch 1, and the drop against the student in 32 bits on both halves of the rows."""
        path = self.folder / f"{content_hash(asdict(candidate))}.json"
        if path.exists():
            return json.loads(path.read_text("utf-8"))
        with TemporaryDirectory(dir=self.folder) as scratch:
            self.write(candidate, Path(scratch))
            predict = self._load(Path(scratch))
            milliseconds, faster = self._timed(predict)
            predictions = self._predictions(predict)
            found = {
                **asdict(candidate),
                "name": candidate.name,
                "bytes": graph_bytes(Path(scratch)),
                "p50_ms": milliseconds,
                "faster": faster,
                "search": self._drop(predictions, self.halves[0]),
                "confirmation": self._drop(predictions, self.halves[1]),
            }
        _keep(path, found)
        worst = found["search"]["worst_language_drop"]
        say(
            f"search: {candidate.name}: {milliseconds:.2f} ms, {found['bytes'] / 1e6:.2f} MB, worst-language drop "
            f"{100 * worst['value']:+.1f} in {worst['language']}"
        )
        return found

    def write(self, candidate: Candidate, folder: Path) -> None:
        """Fill a folder with the graphs of a candidate."""
        fused = self._fused(candidate.retrained)
        method = candidate.calibration or self.run.recipe.export.calibration.method
        if candidate.variant == "onnx-fused":
            shutil.copytree(fused, folder, dirs_exist_ok=True)
        elif candidate.variant == "onnx-int8":
            quantize_dynamic_int8(fused, folder, self.target, candidate.excluded)
        elif candidate.variant == "onnx-static":
            quantize_static_int8(fused, folder, self.target, self._feeds, method, candidate.excluded)
        elif candidate.variant == "openvino-int8":
            convert_openvino_int8(fused, folder, self.target, self._feeds, method)
        elif candidate.variant == "onnx-int4":
            quantize_int4(fused, folder)

    def sensitivity(self, candidate: Candidate) -> list[dict[str, Any]]:
        """How far the outputs move where one layer alone is quantised, the layers that move them most first."""
        path = self.folder / f"sensitivity-{content_hash(asdict(candidate))}.json"
        known = json.loads(path.read_text("utf-8")) if path.exists() else []
        layers = quantisable_layers(self.run.path_of("onnx"))
        for layer, title in layers.items():
            if layer in [entry["layer"] for entry in known]:
                continue
            others = tuple(name for name in layers if name != layer)
            with TemporaryDirectory(dir=self.folder) as scratch:
                alone = Candidate(candidate.variant, others, candidate.calibration, candidate.retrained)
                self.write(alone, Path(scratch))
                known.append({"layer": layer, "title": title, "difference": self._difference(Path(scratch))})
            _keep(path, known)
        return sorted(known, key=lambda entry: -entry["difference"])

    @cached_property
    def _feeds(self) -> Feeds:
        return calibration_feeds(self.run, self.data, self.run.path_of("onnx"))

    @cached_property
    def _retrained(self) -> Path:
        """Plain graphs of the student after quantisation-aware distillation."""
        finished, budget = self.folder / "retrained-onnx", self.run.recipe.export.budget
        if finished.exists():
            return finished
        say("search: distilling with the rounding of int8")
        settings = self.run.recipe.student.training
        training = settings.model_copy(update={"epochs": budget.epochs, "learning_rate": budget.learning_rate})
        more = Continuation(
            self.run.path_of("student"), training, lambda model: rounding_of_int8(model, self.target.reduce_range)
        )
        with TemporaryDirectory(dir=self.folder) as scratch:
            student, graphs = Path(scratch) / "student", Path(scratch) / "onnx"
            student.mkdir()
            graphs.mkdir()
            distil(self.run, student, self.folder / "training", more)
            export_onnx(self.run.task, student, graphs, self.data.labels)
            graphs.rename(finished)
        shutil.rmtree(self.folder / "training")  # its checkpoints
        return finished

    def _fused(self, retrained: bool) -> Path:
        """Fused graphs of the student, which all candidates are made from."""
        finished = self.folder / ("retrained-fused" if retrained else "fused")
        if not finished.exists():
            with TemporaryDirectory(dir=self.folder) as scratch:
                graphs = Path(scratch) / "graphs"
                graphs.mkdir()
                fuse_graphs(self._retrained if retrained else self.run.path_of("onnx"), graphs)
                graphs.rename(finished)
        return finished

    @cached_property
    def _reference(self) -> tuple[Predict, list[Prediction]]:
        """The student in 32 bits, as it is fastest, and what it predicts."""
        predict = self._load(self._fused(retrained=False))
        return predict, self._predictions(predict)

    def _load(self, folder: Path) -> Predict:
        return load_predict(folder, self.run.task, self._search, self.run.recipe.bench.threads or 1)

    def _predictions(self, predict: Predict) -> list[Prediction]:
        outputs = self._outputs(predict, len(self.examples))
        return self.run.task.decode(outputs, self.examples, self.rows, self.data.labels, self.tokenizer)

    def _drop(self, predictions: Sequence[Prediction], numbers: list[int]) -> dict[str, Any]:
        rows = [self.rows[number] for number in numbers]
        reference, other = (
            self.run.task.metrics([found[number] for number in numbers], rows, self.data.labels)
            for found in (self._reference[1], predictions)
        )
        return compare(reference, other, [row.lang for row in rows])

    def _timed(self, predict: Predict) -> tuple[float, float]:
        """Median milliseconds of one example, and how many times faster it is than the reference.

        Each example is run by both, one after the other; the ratio is the median over the pairs, so that a slow spell
        of the machine counts for neither.
        """
        reference = self._reference[0]
        feeds = [pad([example], self.tokenizer.pad_token_id) for example in self.examples[:_TIMED_EXAMPLES]]
        pairs: list[list[int]] = []
        ends = time.monotonic() + _TIMED_SECONDS
        for _ in range(_TIMED_ROUNDS):
            for feed in feeds:
                pair = []
                for model in (predict, reference):
                    started = time.perf_counter_ns()
                    model(feed)
                    pair.append(time.perf_counter_ns() - started)
                pairs.append(pair)
            if time.monotonic() > ends:
                break
        # The first round warms up, unless it is the only one.
        measured = np.array(pairs[len(feeds) :] or pairs)
        return float(np.median(measured[:, 0])) / 1e6, float(np.median(measured[:, 1] / measured[:, 0]))

    @cached_property
    def _some_outputs(self) -> list[np.ndarray]:
        return self._outputs(self._reference[0], _SENSITIVITY_ROWS)

    def _outputs(self, predict: Predict, count: int) -> list[np.ndarray]:
        return predict_examples(predict, self.run.task, self.examples[:count], self.tokenizer.pad_token_id)

    def _difference(self, folder: Path) -> float:
        """Mean distance of the outputs from the reference's on some rows; of text, the share that is another."""
        pairs = list(zip(self._some_outputs, self._outputs(self._load(folder), _SENSITIVITY_ROWS), strict=True))
        if self.run.task.GENERATES:
            return float(np.mean([not np.array_equal(a, b) for a, b in pairs]))
        return float(np.mean([np.abs(a - b).mean() for a, b in pairs]))


def _keep(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    write_json(partial, content)
    partial.replace(path)
