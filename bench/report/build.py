"""The bench report's models, made of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.measure.accuracy import Accuracy
from bench.measure.contenders import Contender
from bench.measure.latency import LatencyMeasurement
from bench.measure.measured import Measured
from bench.measure.noise import widened
from bench.measure.settings import cells_left_out
from bench.measure.sizes import size_on_disk
from bench.measure.statistics import ratio_interval
from bench.measure.workers import ModelSetup
from compress.control_groups import processor_quota, quota_stops
from compress.machine import gpus
from compress.reports.bench import Comparison, LanguageTimes, ModelReport, NotMeasured, Ratio, Size
from compress.runs.directory import Run
from compress.student.summary import exported_name
from compress.timing import knows_waiting


@dataclass(frozen=True)
class Findings:
    """What is known of all models: who they are, how they read the rows, what was measured, what they said, and which
    of them all others are compared with."""

    contenders: Mapping[str, Contender]
    setups: Mapping[str, ModelSetup]
    measured: Measured
    accuracy: Accuracy
    references: Sequence[str]

    def sizes(self) -> dict[str, Size]:
        """Of each model on disk."""
        return {name: size_on_disk(found.model, found.tokenizer) for name, found in self.contenders.items()}


def model_reports(findings: Findings) -> dict[str, ModelReport]:
    """What was measured of each model, by its name."""
    sizes = findings.sizes()
    return {name: _model(findings, name, sizes) for name in findings.contenders}


def not_measured(run: Run, findings: Findings) -> list[NotMeasured]:
    """What all models lack, and why."""
    found = []
    if all(memory.gpu is None for seen in findings.measured.starts.values() for memory in seen.memory):
        why = "NVML does not tell; install the extra `gpu`" if gpus() else "there is no NVIDIA GPU"
        found.append(NotMeasured(what="GPU memory", why=why))
    if findings.accuracy.calibration(exported_name(run)) is None:
        found.append(NotMeasured(what="calibration error", why="rows of this task do not have one label"))
    if 1 not in run.recipe.bench.batch_sizes:
        why = "batch size 1 is not among bench.batch_sizes"
        found.append(NotMeasured(what="latency by language", why=why))
    threads = max(setup.told.threads for setup in findings.setups.values())
    if not knows_waiting() or quota_stops(threads):
        why = "this system does not tell how long threads wait for a processor"
        if knows_waiting():
            why = f"the quota of {processor_quota():g} processors stops the {threads} threads of a model too"
        found.append(NotMeasured(what="what other work disturbed", why=why))
    left_out = cells_left_out(run)
    if left_out:
        what = "batches of " + ", ".join(f"{cell.batch} × {cell.length} tokens" for cell in left_out)
        found.append(NotMeasured(what=what, why="they may take more memory than there is"))
    if not run.recipe.bench.load.enabled:
        why = "not asked for; `compress bench --load` measures it"
        found.append(NotMeasured(what="latency under load", why=why))
    return found


def _model(findings: Findings, name: str, sizes: Mapping[str, Size]) -> ModelReport:
    contender, measured, accuracy = findings.contenders[name], findings.measured, findings.accuracy
    references = [] if name == findings.references[0] else [other for other in findings.references if other != name]
    warm_ups = {str(size): found.timing_warm_up for size, found in measured.times.samples[name].items()}
    return ModelReport(
        runtime=contender.runtime,
        target=contender.target,
        made_for_another_target=not contender.is_for_this_machine,
        shape=contender.shape,
        origin=contender.origin or str(contender.model),
        size=sizes[name],
        memory=measured.starts[name].memory,
        start_up_seconds=measured.starts[name].seconds,
        timing_warm_up={size: found for size, found in warm_ups.items() if found is not None},
        latency=measured.times.figures(name),
        languages=_languages(findings, name),
        grid=measured.grid[name],
        texts=measured.texts[name],
        load=measured.load[name],
        quality=accuracy.quality(name),
        labels=accuracy.labels(name),
        cells=accuracy.cells(name),
        calibration=accuracy.calibration(name),
        against={reference: _comparison(findings, reference, name, sizes) for reference in references},
    )


def _comparison(findings: Findings, reference: str, name: str, sizes: Mapping[str, Size]) -> Comparison:
    """What changes from another model to this one."""
    accuracy, samples = findings.accuracy, findings.measured.times.samples
    return Comparison(
        **dict(accuracy.losses(reference, name)),
        changed=accuracy.changes(reference, name),
        smaller=round(sizes[reference].total / (sizes[name].total or 1), 3),
        faster={str(size): _faster(findings.measured.times, reference, name, size) for size in samples[name]},
    )


def _faster(times: LatencyMeasurement, reference: str, name: str, size: int) -> Ratio:
    """How many times the other model's time this one's is shorter."""
    found = ratio_interval(times.milliseconds_of(reference, size), times.milliseconds_of(name, size))
    ratio = widened(found, times.disturbed(reference, size), times.disturbed(name, size))
    low, high = (round(end, 4) if 0 < end < math.inf else None for end in (ratio.low, ratio.high))
    return Ratio(value=round(ratio.value, 4), low=low, high=high)


def _languages(findings: Findings, name: str) -> dict[str, LanguageTimes]:
    """What a row of each language costs this model, one at a time."""
    times, languages, setup = findings.measured.times, findings.accuracy.languages, findings.setups[name]
    if 1 not in times.batches:
        return {}
    milliseconds = times.milliseconds_of(name)
    found = {}
    for language in sorted({languages[row] for row in times.rows}):
        places = [place for place, row in enumerate(times.rows) if languages[row] == language]
        own = milliseconds[:, places]
        found[language] = LanguageTimes(
            rows=len(places),
            tokens_per_row=round(float(np.mean([setup.tokens_of(times.rows[place]) for place in places])), 2),
            p50_ms=round(float(np.median(own)), 4),
            p99_ms=round(float(np.percentile(own, 99)), 4),
            mean_ms=round(float(own.mean()), 4),
        )
    return found
