"""What the stage of a variant returns."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.metrics.figures import LabelAgreement
from compress.recipe.export import Calibration, Tolerance
from compress.runs.manifest import Stage
from compress.variants.engine import EngineSidecar
from compress.variants.registry import VariantName
from export.onnx.graphs import GraphFacts


class Parity(Contract):
    """How far a variant's outputs are from its parent's on real rows; ``agreement``: share with the same prediction."""

    rows: int
    max_difference: float
    mean_difference: float
    agreement: float
    largest_value: float | None = Field(
        None,
        description="of any node of its parent on the rows, but of those that are too large, where the variant is for "
        "a GPU and calculates in half precision, which a CPU widens: it was compared with weights in half precision "
        "alone; null: as it will run",
    )
    too_large: int | None = Field(
        None,
        description="nodes whose values half precision cannot hold: with what reads them they calculate in 32 bits; "
        "null: not looked for",
    )
    cosine: float | None = Field(
        None, description="of vectors the smallest of a text's two; differences are then what cosines lack of 1"
    )
    labels: dict[str, LabelAgreement] = Field(
        default_factory=dict, description="by what the parent predicts; empty where labels are no closed set"
    )


class Made(Contract):
    """What a maker says of the files that it wrote."""

    target: str = Field("any", description="any, cpu, cuda or a target's name; of engines their GPU generations")
    form: VariantName = Field(description="whose limits and handling hold: the variant's own, or what a search chose")
    graph: GraphFacts | None = None
    fused_attentions: int | None = None
    weights: str | None = Field(None, description="how they are rounded, for people")
    activations: str | None = None
    calibration: Calibration | None = Field(None, description="on which rows static int8 found its ranges, and how")
    engines: list[EngineSidecar] = Field(default_factory=list)


class VariantSummary(Made):
    """A variant of the student: what it was made from and for, its size, and how it compares with its parent."""

    parent: str
    tolerance: Tolerance = Field(description="what it may differ from its parent")
    bytes: int = Field(description="of its graphs with their weights, or of its engines")
    parity: Parity | None = Field(None, description="null: it could not run where it was made")


def variant_stage(name: str) -> Stage[VariantSummary]:
    """The stage of a variant."""
    return Stage(name, VariantSummary)
