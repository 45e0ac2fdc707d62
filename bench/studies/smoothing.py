"""What smoothing's constants are worth on a model of one's own: ``python -m bench.studies.smoothing RUN``.

RUN is a run that `compress export` has made ``onnx-fused`` of. Its static int8 form is made with each strength and with
each loudness from which a channel is smoothed (`export.quantize.smoothing`); the error is what a form's outputs differ
from the fused graph's on validation rows, mean square, in percent of their variance.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import onnx_ir
from rich.console import Console

from compress.console import table
from compress.data.stage import load_data
from compress.runs.directory import Run, find_run
from compress.targets import resolve_target
from export.quantize.calibration import calibration_of
from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
from export.variants.sample import Sample, draw_sample

_ROWS = 240
_STRENGTHS = (0.5, 0.65, 0.75, 0.85, 0.95)
_LOUD = (1.0, 6.0, 20.0, float("inf"))


@contextmanager
def _constants(strength: float, loud: float) -> Iterator[None]:
    smoothing = "export.quantize.smoothing"
    with patch(f"{smoothing}._STRENGTH", strength), patch(f"{smoothing}._LOUD", loud):
        yield


def errors_of(run: Run) -> list[list[str]]:
    """Of `onnx-int8` and of static int8 with each pair of constants: name, percent of the variance, divisions that are
    left in the graph."""
    data, target, fused = load_data(run), resolve_target("auto"), run.path_of("onnx-fused")
    sample, settings = draw_sample(run, data, _ROWS), run.recipe.export.calibration
    calibrate = calibration_of(run, data, fused)
    exact = _outputs(sample, fused)

    def row(name: str, folder: Path) -> list[str]:
        share = np.mean((_outputs(sample, folder) - exact) ** 2) / exact.var(axis=0).mean()
        graph = onnx_ir.load(folder / "model.onnx").graph
        divisions = sum(str(node.outputs[0].name).endswith("_smoothed") for node in graph if node.op_type == "Mul")
        return [name, f"{100 * share:.3g}", str(divisions)]

    with TemporaryDirectory() as scratch:
        quantize_dynamic_int8(fused, Path(scratch), target, by_token=True)
        rows = [row("onnx-int8", Path(scratch))]
    for loud in _LOUD:
        for strength in _STRENGTHS if np.isfinite(loud) else (0.0,):
            with TemporaryDirectory() as scratch, _constants(strength, loud):
                quantize_static_int8(fused, Path(scratch), target, calibrate, settings.method)
                named = f"strength {strength}, channels louder than {loud:g} × the median"
                rows.append(row(f"onnx-static, {named if np.isfinite(loud) else 'not smoothed'}", Path(scratch)))
    return rows


def _outputs(sample: Sample, folder: Path) -> np.ndarray:
    return np.stack([np.asarray(output).ravel() for output in sample.answers(folder).outputs])


def main() -> None:
    """Print the table of a run."""
    run = find_run(Path(sys.argv[1]), Path("artifacts"))
    columns = ["form", "error, % of the variance", "divisions"]
    Console(width=120).print(table(run.recipe.name, columns, errors_of(run)))


if __name__ == "__main__":
    main()
