"""The recipe's section on measuring: latency, load, memory."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.recipe.section import Few, Positive, Section


class Load(Section):
    """An open-loop load at rising rates, until answers are late."""

    enabled: bool = Field(False, description="measure under load")
    bound_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = Field(
        None, description="99 % of the answers must come within it; null: five times the teacher's median for one row"
    )
    largest_batch: Positive = Field(8, description="waiting requests that dynamic batching joins at most")
    seconds: Annotated[float, Field(gt=0, le=3600)] = Field(3.0, description="seconds at each rate")


class Bench(Section):
    """How models are measured."""

    rows: Positive = Field(200, description="rows of the latency measurement, drawn evenly over the languages")
    batch_sizes: Annotated[list[Positive], Field(min_length=1)] = Field(
        [1, 8], description="rows a run in the latency measurement"
    )
    lengths: Annotated[list[Positive], Field(min_length=1)] | None = Field(
        None, description="tokens of a row in the grid of sizes; null: a quarter of data.max_length, and all of it"
    )
    threads: Few | None = Field(1, description="threads of one model; null: every processor of this machine")
    rounds: Few = Field(2, description="all models run all rows this many times, batch by batch in turn")
    starts: Few = Field(2, description="each model is started this many times, in fresh processes")
    load: Load = Load()
