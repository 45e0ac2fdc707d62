"""The export stages: one folder a variant, each accepted only if it agrees with its parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from compress.console import say
from compress.data.encode import spread_over_languages
from compress.data.rows import Row
from compress.data.stage import DataSet, load_data
from compress.generation import Search
from compress.inference import load_predict, predict_examples
from compress.models import load_tokenizer
from compress.recipe import Tolerance
from compress.run import Run, run_stage
from compress.target import resolve_target
from compress.tasks import Example, Task
from export.parity import Answers, check_parity, log_probabilities_of_labels, measure_parity
from export.quantize import convert_fp16, quantize_int8
from export.to_onnx import export_onnx

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sample:
    """Real rows for parity, drawn evenly over the languages from the validation split."""

    task: Task
    rows: list[Row]
    examples: list[Example]
    labels: list[str]
    tokenizer: PreTrainedTokenizerBase
    search: Search

    def answers(self, folder: Path) -> Answers:
        """What the model in a folder says about the rows."""
        predict, pad_id = load_predict(folder, self.task, self.search), self.tokenizer.pad_token_id
        outputs = predict_examples(predict, self.task, self.examples, pad_id)
        predictions = self.task.decode(outputs, self.examples, self.rows, self.labels, self.tokenizer)
        if self.task.GENERATES:  # what is written differs from the first other token on: the rows' own text is rated
            outputs = log_probabilities_of_labels(folder, self.task, self.examples, pad_id)
        return Answers(outputs, predictions)


def run_export_stages(run: Run) -> dict[str, Any]:
    """Write ``onnx/``, ``onnx-int8/`` and, where the recipe asks for it, ``onnx-fp16/`` and ``tensorrt/``.

    :return: For each variant its summary: parity, bytes, and what it was made for.
    """
    data, settings = load_data(run), run.recipe.export
    if settings.tensorrt.enabled:
        from export.tensorrt import choose_builder

        choose_builder()  # a missing builder is said before any work is done
    sample = _sample(run, data)
    target = resolve_target(settings.target)
    tolerances = settings.parity
    variants = {
        "onnx": _variant(
            run,
            "onnx",
            "student",
            {},
            tolerances.onnx,
            sample,
            lambda folder: export_onnx(run.task, run.path_of("student"), folder, data.labels),
        ),
        "onnx-int8": _variant(
            run,
            "onnx-int8",
            "onnx",
            {"target": target.name},
            tolerances.int8,
            sample,
            lambda folder: _int8(run, folder),
        ),
    }
    if settings.tensorrt.enabled:
        source = "onnx"
        if settings.tensorrt.precision == "fp16":
            source = "onnx-fp16"
            variants[source] = _variant(
                run, source, "onnx", {}, tolerances.fp16, sample, lambda folder: _fp16(run, folder)
            )
        variants["tensorrt"] = _tensorrt(run, source)
    return variants


def export_table(variants: dict[str, Any]) -> Table:
    """One row a variant: what it is, size, parity."""
    table = Table(title="Variants of the student")
    for heading in ("variant", "parent", "target", "MB", "max diff", "mean diff", "same prediction"):
        table.add_column(heading, justify="left" if heading in ("variant", "parent", "target") else "right")
    for name, summary in variants.items():
        parity = summary.get("parity")
        cells = (
            [
                f"{parity['max_difference']:.2g}",
                f"{parity['mean_difference']:.2g}",
                f"{100 * parity['agreement']:.2f} %",
            ]
            if parity
            else ["needs a GPU", "", ""]
        )
        table.add_row(name, summary["parent"], summary["target"], f"{summary['bytes'] / 1e6:.2f}", *cells)
    return table


def _variant(
    run: Run,
    name: str,
    parent: str,
    inputs: dict[str, Any],
    tolerance: Tolerance,
    sample: Sample,
    write: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """Write one variant and check it against its parent."""

    def build(folder: Path, _: Path) -> dict[str, Any]:
        say(f"{name}: writing")
        described = write(folder)
        parity = measure_parity(sample.answers(run.path_of(parent)), sample.answers(folder))
        check_parity(name, parent, parity, tolerance)
        size = sum(path.stat().st_size for path in folder.glob("*.onnx*"))
        return {"parent": parent, "target": "any", **described, "bytes": size, "parity": parity.as_dict()}

    inputs = {**inputs, **run.tokenisation, "tolerance": tolerance.model_dump(), "rows": len(sample.rows)}
    inputs["generation"] = run.recipe.generation.model_dump()
    return run_stage(run, name, inputs, ("data", parent), build)


def _int8(run: Run, folder: Path) -> dict[str, Any]:
    target = resolve_target(run.recipe.export.target)
    quantize_int8(run.path_of("onnx"), folder, target)
    return {"target": target.name, "weights": "7 bit per channel" if target.reduce_range else "8 bit per channel"}


def _fp16(run: Run, folder: Path) -> dict[str, Any]:
    convert_fp16(run.path_of("onnx"), folder)
    return {"target": "cuda"}


def _tensorrt(run: Run, source: str) -> dict[str, Any]:
    from export.tensorrt import build_engine, choose_builder

    settings, builder = run.recipe.export.tensorrt, choose_builder()
    inputs = {
        **settings.model_dump(mode="json", exclude={"enabled"}),
        "builder": builder.name,
        "version": builder.version,
    }

    def build(folder: Path, _: Path) -> dict[str, Any]:
        say(f"tensorrt: building with {builder.name} {builder.version}")
        graphs = sorted(run.path_of(source).glob("*.onnx"))
        engines = [build_engine(builder, graph, folder, settings, source) for graph in graphs]
        return {
            "parent": source,
            "target": ", ".join(f"sm{sm}" for sm in engines[0]["sm"]),
            "bytes": sum(engine["bytes"] for engine in engines),
            "engines": engines,
        }

    return run_stage(run, "tensorrt", inputs, (source,), build)


def _sample(run: Run, data: DataSet) -> Sample:
    tokenizer = load_tokenizer(str(run.path_of("student")))
    rows = data.splits["validation"]
    chosen = spread_over_languages(rows.column("lang"), run.recipe.export.parity.rows, run.recipe.seed)
    sample = list(rows.select(chosen))
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(sample)
    return Sample(run.task, sample, examples, data.labels, tokenizer, Search.of(run.recipe))
