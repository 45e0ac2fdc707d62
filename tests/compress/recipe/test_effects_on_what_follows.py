"""Every field on export, measuring and bundles, set to another value, changes what is planned.

The commands run with real code on the small run, up to where something would be made or measured: what it would be made
of, and what measuring processes would be asked, is noted. `test_effects` has the fields of the stages before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import stage as bench_stage
from bench.measure.contenders import find_contenders
from bench.measure.machine import Machine
from bench.measure.protocol import (
    RunAnswer,
    RunRequest,
    ServeAnswer,
    ServeRequest,
    TextAnswer,
    TextRequest,
    TimingWarmUpAnswer,
)
from bench.measure.workers import ModelSetup, Starts
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.recipe.reference import field_paths
from compress.reports.bench import read_report
from compress.runs.directory import Run, find_run
from compress.runs.manifest import Stage
from compress.teacher.summary import source_stage
from export import stage as export_stage
from export.bundle import stage as bundle_stage
from export.bundle.contents.bom import materials_of
from export.quantize.calibration import calibration_batches
from export.search import stage as search_stage
from export.tensorrt import stage as engine_stage

Noted = list[tuple[str, object]]


@dataclass(frozen=True)
class Change:
    """Another value of a field; ``given`` are fields without which it has no meaning."""

    value: object
    given: dict[str, object] = field(default_factory=dict)


_ALL = {"export.variants": ["onnx-int8", "onnx-int4", "onnx-fp16", "onnx-static"]}
_BF16 = {"export.target": "cpu-amx", "export.variants": ["openvino-bf16"]}
_ENGINES = {"export.tensorrt.enabled": True}
_SEARCH = {"export.budget.points": 1.0}
_LOAD = {"bench.load.enabled": True}
EXPORT = {
    "target": Change("cpu-arm"),
    "variants": Change(["onnx-int4"]),
    "opset": Change(18),
    "embedding_bits": Change(4, _ALL),
    "calibration.method": Change("entropy", _ALL),
    "calibration.rows": Change(8, _ALL),
    "calibration.split": Change("validation", _ALL),
    "budget.points": Change(2.0, _SEARCH),
    "budget.rows": Change(9, _SEARCH),
    "parity.rows": Change(9),
    **{f"parity.{precision}.max_difference": Change(9.0, _ALL) for precision in ("onnx", "int8", "int4", "fp16")},
    **{f"parity.{precision}.agreement": Change(0.5, _ALL) for precision in ("onnx", "int8", "int4", "fp16")},
    **{f"parity.{precision}.cosine": Change(0.5, _ALL) for precision in ("onnx", "int8", "int4", "fp16")},
    "parity.bf16.max_difference": Change(9.0, _BF16),
    "parity.bf16.agreement": Change(0.5, _BF16),
    "parity.bf16.cosine": Change(0.5, _BF16),
    "tensorrt.enabled": Change(False, _ENGINES),
    "tensorrt.sm": Change([80], _ENGINES),
    "tensorrt.precisions": Change(["fp32"], _ENGINES),
    "tensorrt.profiles": Change([{"batch": [1, 2, 3]}], _ENGINES),
    "tensorrt.workspace_mb": Change(9, _ENGINES),
    "tensorrt.optimization_level": Change(1, _ENGINES),
    "tensorrt.version_compatible": Change(True, _ENGINES),
    "tensorrt.hardware_compatible": Change(True, _ENGINES),
    "tensorrt.refit": Change(True, _ENGINES),
    "tensorrt.strip_weights": Change(True, _ENGINES),
}
BENCH = {
    "rows": Change(9),
    "batch_sizes": Change([2]),
    "lengths": Change([9]),
    "threads": Change(None),
    "rounds": Change(1),
    "starts": Change(1),
    "load.enabled": Change(True),
    "load.bound_ms": Change(9.0, _LOAD),
    "load.largest_batch": Change(2, _LOAD),
    "load.seconds": Change(9.0, _LOAD),
}
BUNDLE = {
    "license": Change("Apache-2.0"),
    "data_license": Change("CC-BY-4.0"),
    "teacher_license": Change("MIT"),
}


def test_every_field_from_the_export_on_is_changed_here():
    sections = {"export": EXPORT, "bench": BENCH, "bundle": BUNDLE}
    paths = [path for path in field_paths() if path.partition(".")[0] in sections]
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    assert leaves == {f"{section}.{name}" for section, changes in sections.items() for name in changes}


@contextmanager
def noting(noted: Noted) -> Iterator[None]:
    """No stage of export and bundle is made: what each would depend on is noted."""

    def note(run: Run, stage: Stage, inputs: Mapping[str, object], parents: Sequence[str], *_, **__) -> None:
        noted.append((stage.name, (dict(inputs), list(parents))))

    with pytest.MonkeyPatch.context() as patch:
        for module in (export_stage, search_stage, engine_stage, bundle_stage):
            patch.setattr(module, "run_stage", note)
        for module in (export_stage, bundle_stage):
            patch.setattr(module, "keep_recipe", lambda run: None)
        patch.setattr(export_stage, "without_bf16", lambda: None)  # whatever this processor has
        yield


def exported(run: Run) -> Noted:
    """What the export's stages would be made of, and the calibration rows."""
    noted: Noted = []
    with noting(noted):
        export_stage.run_export_stages(run)
    batches = calibration_batches(run, load_data(run), run.path_of("onnx"))
    return [*noted, ("calibration", [batch["input_ids"].tolist() for batch in batches])]


def bundled(run: Run) -> Noted:
    """What a bundle would be made of, and what it would name."""
    noted: Noted = []
    with noting(noted):
        report = read_report(run.folder / "bench/report.json")
        bundle_stage.run_bundle_stage(run, bundle_stage.Wanted(accepted=("onnx",)), report)
    return [*noted, ("materials", materials_of(run.recipe, run.summary(source_stage(run))))]


class MeasuredError(Exception):
    """All has been measured."""


def measured(run: Run) -> Noted:
    """What the measuring processes of teacher and student would be told and asked."""
    noted: Noted = []

    class Recorder:
        def __init__(self, setup: ModelSetup):
            self.setup, self.start = setup, SimpleNamespace(classes=4)
            noted.append(("largest", setup.told.largest))

        def ask(self, request: object) -> object:
            noted.append(("asked", request))
            match request:
                case RunRequest():
                    return RunAnswer(1.0, 0.0)
                case TextRequest():
                    return TextAnswer(1.0, 1.0, 0.0)
                case ServeRequest():
                    return ServeAnswer([99.0], [1], 1.0, 0.0)
            return TimingWarmUpAnswer(1, True)

    @contextmanager
    def started(setups: Mapping[str, ModelSetup], starts: int, command: Sequence[str]) -> Iterator[object]:
        noted.append(("starts", starts))
        yield {name: Recorder(setup) for name, setup in setups.items()}, {name: Starts() for name in setups}

    def predicted(*_: object) -> None:
        raise MeasuredError

    def on_threads(threads: int | None) -> Machine:
        noted.append(("threads", threads))
        return Machine((0,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_stage, "started", started)
        patch.setattr(bench_stage, "_predicted", predicted)
        patch.setattr(bench_stage.Machine, "with_threads", on_threads)
        patch.setattr(bench_stage, "find_contenders", lambda *given: (find_contenders(*given)[0][:2], []))
        with pytest.raises(MeasuredError):
            bench_stage.run_bench_stage(run)
    return noted


PLANNED: dict[str, tuple[Callable[[Run], Noted], dict[str, Change]]] = {
    "export": (exported, EXPORT),
    "bench": (measured, BENCH),
    "bundle": (bundled, BUNDLE),
}


@pytest.fixture(scope="module")
def before(finished_run: Path) -> Callable[[str, dict[str, object]], Noted]:
    """What is planned with a section as it is, but for what is given; once for all fields that are given the same."""
    known: dict[str, Noted] = {}

    def plan(section: str, given: dict[str, object]) -> Noted:
        key = f"{section} {given}"
        if key not in known:
            known[key] = PLANNED[section][0](find_run(finished_run, finished_run.parent, given))
        return known[key]

    return plan


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section, (_, changes) in PLANNED.items() for name in changes]
)
def test_another_value_makes_another_plan(section: str, name: str, before, finished_run: Path):
    planned, changes = PLANNED[section]
    change = changes[name]
    run = find_run(finished_run, finished_run.parent, {**change.given, f"{section}.{name}": change.value})
    try:
        after = planned(run)
    except CompressError as error:  # what this machine's builder of engines does not know
        after = [("refused", str(error).partition(": ")[0])]
    assert after[0] == ("refused", f"{section}.{name}") or after[0][0] != "refused"
    assert after != before(section, change.given)
