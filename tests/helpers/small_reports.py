"""Bench reports with a few figures, for what reads them."""

from __future__ import annotations

from collections.abc import Mapping

from compress.metrics.figures import Interval, Loss, WorstLoss
from compress.reports.bench import (
    Comparison,
    MachineFacts,
    ModelReport,
    Report,
    Rows,
    RowTimes,
    Size,
    Texts,
    TextTimes,
)

LANGUAGES = ("de", "ja")
_TIMES = {"p50_ms": 1.0, "p90_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "mean_ms": 1.0}


def small_model(
    name: str,
    p50_ms: Mapping[str, float] | None = None,
    accuracy: Mapping[str, float] | None = None,
    lost_in: str | None = None,
    **fields: object,
) -> ModelReport:
    """A model that was measured.

    :param p50_ms: By batch size.
    :param accuracy: By language and all; intervals reach 0.01 to both sides.
    :param lost_in: A language in which it is significantly worse than the teacher, by 5 points.
    """
    latency = {
        size: RowTimes(**{**_TIMES, "p50_ms": median}, rows_per_second=1000 * int(size) / median, disturbed=0.0)
        for size, median in (p50_ms or {"1": 1.0}).items()
    }
    told = {"all": 0.9, **dict.fromkeys(LANGUAGES, 0.9), **(accuracy or {})}
    quality = {
        language: {"accuracy": Interval(value=value, low=value - 0.01, high=value + 0.01)}
        for language, value in told.items()
    }
    none = Loss(value=0.0, low=-0.01, high=0.01, p=1.0, p_adjusted=1.0)
    drop = dict.fromkeys(told, none)
    if lost_in:
        drop[lost_in] = Loss(value=0.05, low=0.03, high=0.07, p=0.001, p_adjusted=0.002)
    worst = WorstLoss(value=0.0, low=0.0, high=0.0, language=lost_in or LANGUAGES[0])
    against = Comparison(
        metric="accuracy",
        drop=drop,
        worst_language_drop=worst,
        labels={},
        agreement=1.0,
        changed=[],
        smaller=1.0,
        faster={},
    )
    content: dict[str, object] = {
        "runtime": "ONNX Runtime",
        "target": "any",
        "made_for_another_target": False,
        "shape": "2x32",
        "origin": name,
        "size": Size(total=1, embeddings=None, rest=None),
        "memory": [],
        "start_up_seconds": [],
        "timing_warm_up": {},
        "latency": latency,
        "languages": {},
        "grid": [],
        "texts": Texts(
            tokenise=TextTimes(**_TIMES, samples_ms=[]), together=TextTimes(**_TIMES, samples_ms=[]), disturbed=0.0
        ),
        "load": [],
        "quality": quality,
        "labels": {},
        "calibration": None,
        "against": {} if name == "teacher" else {"teacher": against},
    }
    return ModelReport.model_validate({**content, **fields})


def small_report(*models: tuple[str, ModelReport]) -> Report:
    """A report of these models, and a teacher."""
    return Report(
        run="tiny",
        task="text-classification",
        made="2026-01-01T00:00:00+00:00",
        machine=MachineFacts(processor="a processor", system="Linux", memory_bytes=1, threads=2, cpus=[0], gpus=[]),
        versions={},
        overrides={},
        rounds=1,
        starts=1,
        batch_sizes=[1],
        lengths=[],
        metrics=["accuracy"],
        signatures={},
        rows=Rows(latency=1, quality=1, digest="0", sampled=[0]),
        models={"teacher": small_model("teacher"), **dict(models)},
        reference=RowTimes(**_TIMES, rows_per_second=1.0, disturbed=0.0),
        not_measured=[],
        samples_ms={},
        predictions={},
    )
