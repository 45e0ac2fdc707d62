"""The bench stage: teacher, student, every variant and models of the user's own, on the same rows in turn."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure.accuracy import Accuracy
from bench.measure.contenders import REFERENCE, STUDENT, TEACHER, Contender, Missing, find_contenders, user_contenders
from bench.measure.latency import Group, LatencyMeasurement, measure_grid, measure_texts
from bench.measure.load import LoadSettings, measure_load
from bench.measure.machine import machine_facts
from bench.measure.rows import check_classes, grid_lengths, predict_rows, rows_digest
from bench.measure.sizes import size_on_disk
from bench.measure.statistics import ratio_interval
from bench.measure.workers import Machine, Measurement, Setup, Started, started
from bench.report.html import write_html
from bench.report.text import write_markdown
from compress.cli.doctor import gpus
from compress.console import progress, say
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet, load_data
from compress.evaluation.stage import load_predicted
from compress.metrics.languages import signatures
from compress.reports.bench import Report, read_report
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.runs.versions import recorded_versions

_TEXT_ROWS = 100


_BOUND = 5  # times the teacher's median


@dataclass(frozen=True)
class Measured:
    """What was measured of all models."""

    starts: dict[str, Started]
    times: LatencyMeasurement
    grid: dict[str, list[dict[str, Any]]]
    texts: dict[str, dict[str, Any]]
    load: dict[str, list[dict[str, Any]]]


def run_bench_stage(run: Run, named: Sequence[str] = (), load: bool = False) -> Report:
    """Fill ``bench/`` with ``report.json``, ``report.html`` and ``report.md``; measured anew each time.

    :param named: Models of the user's own, as ``name=path``.
    :param load: Measure under load even if the recipe does not ask for it.
    """
    if load:
        wanted = run.recipe.bench.load.model_copy(update={"enabled": True})
        bench = run.recipe.bench.model_copy(update={"load": wanted})
        run = replace(run, recipe=run.recipe.model_copy(update={"bench": bench}))

    def build(folder: Path, scratch: Path) -> dict[str, Any]:
        report = _build(run, load_data(run), contenders, missing, scratch)
        (folder / "report.json").write_text(json.dumps(report.as_json(), ensure_ascii=False) + "\n", "utf-8")
        write_markdown(report, folder / "report.md")
        write_html(report, folder / "report.html")
        return {"models": list(report.models), "rows": report.rows.digest}

    labels = load_data(run).labels
    contenders, missing = find_contenders(run, labels)
    contenders += user_contenders(named, run, labels)
    parents = ("data", "evaluation", *(contender.origin for contender in contenders if contender.origin))
    inputs = {**run.recipe.bench.model_dump(mode="json"), "variants": list(named)}
    run_stage(run, "bench", inputs, parents, build, always=True)
    return read_report(run.path_of("bench") / "report.json")


def _build(run: Run, data: DataSet, contenders: list[Contender], missing: list[Missing], scratch: Path) -> Report:
    settings, rows = run.recipe.bench, list(data.splits["test"])
    languages = [row.lang for row in rows]
    chosen = spread_over_languages(languages, settings.rows, run.recipe.seed)
    machine = Machine.with_threads(settings.threads)
    bench = Measurement(run.recipe, rows, machine, scratch, (max(settings.batch_sizes), max(grid_lengths(run))))
    setups = {contender.name: bench.setup(contender) for contender in contenders}
    say(f"bench: starting {len(contenders)} models in fresh processes, {settings.starts} × each")
    everyone = {**setups, REFERENCE: bench.reference()}
    with started(everyone, settings.starts) as (workers, starts):
        for contender in contenders:
            check_classes(contender, workers[contender.name].start["classes"])
        measured = _measure(run, chosen, Group(workers, everyone), starts)
        say("bench: accuracy")
        # The evaluation has asked teacher and student about the same rows already.
        predicted = {name: load_predicted(run, name) for name in (TEACHER, STUDENT)}
        for contender in contenders:
            if contender.name not in predicted:
                name = contender.name
                predicted[name] = predict_rows(run, data, contender, setups[name], workers[name], scratch)
    accuracy = Accuracy(run.task, rows, data.labels, predicted)
    sizes = {contender.name: size_on_disk(contender.model, contender.tokenizer) for contender in contenders}
    models = {
        contender.name: _model(contender, sizes, measured, accuracy, languages, setups[contender.name])
        for contender in contenders
    }
    return Report.model_validate(
        {
            "run": run.recipe.name,
            "task": run.recipe.task,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine_facts(machine),
            "versions": recorded_versions(),
            "rounds": settings.rounds,
            "starts": settings.starts,
            "batch_sizes": settings.batch_sizes,
            "lengths": grid_lengths(run),
            "metrics": list(accuracy.metrics[TEACHER]),
            "signatures": signatures(accuracy.metrics[TEACHER]),
            "rows": {
                "latency": len(chosen),
                "quality": len(rows),
                "digest": rows_digest(rows),
                "sampled": chosen,
            },
            "models": models,
            "reference": measured.times.figures(REFERENCE)[str(settings.batch_sizes[0])],
            "not_measured": [asdict(entry) for entry in [*missing, *_not_measured(run, accuracy, measured)]],
            "samples_ms": {
                name: {str(size): [round(ms, 4) for ms in found.milliseconds] for size, found in sizes.items()}
                for name, sizes in measured.times.samples.items()
            },
            "predictions": {name: found.predictions for name, found in predicted.items()},
        }
    )


def _measure(run: Run, chosen: list[int], group: Group, starts: dict[str, Started]) -> Measured:
    settings = run.recipe.bench
    models = Group({name: worker for name, worker in group.workers.items() if name != REFERENCE}, group.setups)
    times = LatencyMeasurement(group, chosen, settings.batch_sizes, run.recipe.seed)
    lengths, some = grid_lengths(run), chosen[:_TEXT_ROWS]
    runs = settings.rounds * sum(len(batches) for batches in times.batches.values())
    with progress() as bar:
        task = bar.add_task("measuring", total=runs + len(settings.batch_sizes) * len(lengths) + len(some))

        def advance(steps: int) -> None:
            bar.advance(task, steps)

        say(f"bench: {len(chosen)} rows in batches of {_listed(settings.batch_sizes)}, {settings.rounds} rounds")
        times.timing_warm_up()
        for _ in range(settings.rounds):
            times.add_round(advance)
        say(f"bench: batches of {_listed(settings.batch_sizes)} rows with {_listed(lengths)} tokens")
        grid = measure_grid(models, settings.batch_sizes, lengths, advance)
        say("bench: from text to outputs")
        texts = measure_texts(models, some, advance)
    return Measured(starts, times, grid, texts, _loads(run, models, times))


def _loads(run: Run, models: Group, times: LatencyMeasurement) -> dict[str, list[dict[str, Any]]]:
    load = run.recipe.bench.load
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if not load.enabled:
        return found
    size = min(times.samples[TEACHER])
    bound = load.bound_ms or _BOUND * float(np.median(times.samples[TEACHER][size].milliseconds)) / size
    for name, worker in models.workers.items():
        capacity = times.figures(name)[str(size)]["rows_per_second"]
        for largest in sorted({1, load.largest_batch}):
            curve = measure_load(
                worker,
                models.setups[name],
                times.rows,
                capacity,
                LoadSettings(bound, largest, load.seconds),
                run.recipe.seed,
            )
            found[name].append(curve)
            rate = f"{curve['highest_rate']:,.0f} rows/s" if curve["highest_rate"] else "no rate that was tried"
            batches = f"batches of up to {largest}" if largest > 1 else "one row at a time"
            say(f"bench: {name} under load, {batches}: {rate} with 99 % of the answers within {bound:.1f} ms")
    return found


def _model(
    contender: Contender,
    sizes: dict[str, dict[str, int | None]],
    measured: Measured,
    accuracy: Accuracy,
    languages: list[str],
    setup: Setup,
) -> dict[str, Any]:
    name, times = contender.name, measured.times
    against = {}
    for reference in (TEACHER, STUDENT):
        if reference == name or name == TEACHER:
            continue
        against[reference] = {
            **accuracy.comparison(reference, name),
            "smaller": round((sizes[reference]["total"] or 0) / (sizes[name]["total"] or 1), 3),
            "faster": {
                str(size): ratio_interval(times.samples[reference][size].milliseconds, found.milliseconds).as_dict()
                for size, found in times.samples[name].items()
            },
        }
    return {
        "runtime": contender.runtime,
        "target": contender.target,
        "made_for_another_target": not contender.is_for_this_machine,
        "shape": contender.shape,
        "origin": contender.origin or str(contender.model),
        "size": sizes[name],
        "memory": measured.starts[name].memory,
        "start_up_seconds": measured.starts[name].seconds,
        "timing_warm_up": {
            str(size): asdict(found.timing_warm_up)
            for size, found in times.samples[name].items()
            if found.timing_warm_up
        },
        "latency": times.figures(name),
        "languages": _languages(name, times, languages, setup),
        "grid": measured.grid[name],
        "texts": measured.texts[name],
        "load": measured.load[name],
        "quality": accuracy.quality(name),
        "calibration": accuracy.calibration(name),
        "against": against,
    }


def _languages(name: str, times: LatencyMeasurement, languages: list[str], setup: Setup) -> dict[str, dict[str, float]]:
    """What a row of each language costs this model, one at a time."""
    if 1 not in times.batches:
        return {}
    milliseconds = times.milliseconds_of(name)
    found = {}
    for language in sorted({languages[row] for row in times.rows}):
        places = [place for place, row in enumerate(times.rows) if languages[row] == language]
        own = milliseconds[:, places]
        found[language] = {
            "rows": len(places),
            "tokens_per_row": round(float(np.mean([setup.tokens_of(times.rows[place]) for place in places])), 2),
            "p50_ms": round(float(np.median(own)), 4),
            "p99_ms": round(float(np.percentile(own, 99)), 4),
            "mean_ms": round(float(own.mean()), 4),
        }
    return found


def _not_measured(run: Run, accuracy: Accuracy, measured: Measured) -> list[Missing]:
    found = []
    if all(memory["gpu"] is None for seen in measured.starts.values() for memory in seen.memory):
        why = "NVML does not tell; install the extra `gpu`" if gpus() else "there is no NVIDIA GPU"
        found.append(Missing("GPU memory", why))
    if accuracy.calibration(STUDENT) is None:
        why = "confidences are not in the evaluation" if run.task.SINGLE_LABEL else "rows of this task have no label"
        found.append(Missing("calibration error", why))
    if 1 not in run.recipe.bench.batch_sizes:
        found.append(Missing("latency by language", "batch size 1 is not among bench.batch_sizes"))
    if not run.recipe.bench.load.enabled:
        found.append(Missing("latency under load", "not asked for; `compress bench --load` measures it"))
    return found


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
