"""The recipe's section on export: variants, targets, calibration, the search, engines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from compress.recipe.section import Fraction, Positive, Section
from compress.targets import TARGETS
from compress.variants.registry import NEWEST_OPSET, OLDEST_OPSET, PLAIN, VARIANTS, EnginePrecision, SelectableName

Range = Annotated[tuple[Positive, Positive, Positive], Field(description="minimum, optimum, maximum")]


class Profile(Section):
    """One TensorRT optimisation profile."""

    batch: Range = (1, 8, 32)
    length: Range = (1, 32, 64)

    @model_validator(mode="after")
    def _ordered(self) -> Profile:
        for name, (low, best, high) in (("batch", self.batch), ("length", self.length)):
            if not low <= best <= high:
                raise ValueError(f"{name} must be minimum <= optimum <= maximum, got {low}, {best}, {high}")
        return self


class TensorRT(Section):
    """Engines. What a builder does not know is refused."""

    enabled: bool = Field(False, description="build engines")
    sm: Annotated[list[Positive], Field(min_length=1)] | None = Field(
        None, description="GPU generations of an ahead-of-time engine; null: the target's, or 80, 86, 89 and 120"
    )
    precisions: Annotated[list[EnginePrecision], Field(min_length=1)] = Field(
        ["fp16"], description="one engine for each"
    )
    profiles: Annotated[list[Profile], Field(min_length=1)] | None = Field(
        None, description="ranges of shapes that the engine is tuned for; null: short texts and long ones"
    )
    workspace_mb: Positive | None = Field(None, description="memory that a layer may use at most; null: no limit")
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = Field(
        None, description="0 builds fast, 5 searches longest; null: the builder's own"
    )
    version_compatible: bool = Field(False, description="later versions of TensorRT can load the engine")
    hardware_compatible: bool = Field(False, description="runs on this GPU's generation (Ampere) and later ones")
    refit: bool = Field(False, description="weights can be exchanged in the finished engine")
    strip_weights: bool = Field(False, description="leave out the weights, which come from the ONNX on the target")


class Tolerance(Section):
    """What a variant may differ from its parent, on real rows."""

    max_difference: Annotated[float, Field(ge=0, le=1_000_000)] = Field(description="largest difference of an output")
    agreement: Fraction = Field(description="smallest share of rows with the same prediction")
    cosine: Fraction = Field(0.9, description="embedding, in place of both: smallest cosine of a text's two vectors")


class ParityLimits(Section):
    """How far a variant may be from its parent."""

    rows: Positive = Field(
        500, description="validation rows that both are compared on, drawn evenly over the languages"
    )
    onnx: Tolerance = Tolerance(max_difference=1e-3, agreement=0.999, cosine=0.99999)
    int8: Tolerance = Tolerance(max_difference=2.0, agreement=0.97, cosine=0.98)
    int4: Tolerance = Tolerance(max_difference=4.0, agreement=0.9, cosine=0.9)
    fp16: Tolerance = Tolerance(max_difference=0.1, agreement=0.99, cosine=0.999)
    bf16: Tolerance = Tolerance(max_difference=0.5, agreement=0.98, cosine=0.999)


CalibrationMethod = Literal["minmax", "entropy", "percentile"]


class Calibration(Section):
    """Rows on which static int8 finds the ranges of its activations."""

    method: CalibrationMethod = Field(
        "percentile",
        description="how a range is found: all values, the least information lost, or nearly all values",
    )
    rows: Positive = Field(256, description="drawn evenly over the languages and over the lengths of each")
    split: Literal["train", "validation"] = Field("train", description="where the rows come from")


class Budget(Section):
    """The search for the fastest variant that stays within a loss of accuracy."""

    points: Annotated[float, Field(ge=0, le=1_000_000)] | None = Field(
        None, description="largest drop of any language against the student in 32 bits; null: no search"
    )
    rows: Positive = Field(2000, description="validation rows of the search, drawn evenly over the languages")


class Export(Section):
    """What is made of the student, and for which target."""

    target: str = Field(
        "auto",
        description="auto (this machine's processor), cpu-avx2, cpu-avx512, cpu-vnni, cpu-avx512-bf16, cpu-amx, "
        "cpu-arm, web (browsers), or cuda-sm75 to cuda-sm120",
        json_schema_extra={"enum": ["auto", *TARGETS]},
    )
    variants: list[SelectableName] | None = Field(
        None, description="beside the plain ONNX; null: what the target is best served with"
    )
    opset: Annotated[int, Field(ge=OLDEST_OPSET, le=NEWEST_OPSET)] | None = Field(
        None,
        description="ONNX operator set of all graphs: an ONNX Runtime that has it runs them (18: 1.14, 19: 1.15, "
        "20: 1.17, 21: 1.18, 22: 1.21, 23: 1.23, 24: 1.24, 25: 1.24); null: 20, and 23 for attention as one operator",
    )
    embedding_bits: Literal[4, 8] = Field(
        8,
        description="of the tokens' table in int8 and 4-bit variants for CPUs and browsers; 4: half as large, for "
        "students that are mostly vocabulary",
    )
    calibration: Calibration = Calibration()
    budget: Budget = Budget()
    parity: ParityLimits = ParityLimits()
    tensorrt: TensorRT = TensorRT()

    @field_validator("target")
    @classmethod
    def _known_target(cls, name: str) -> str:
        if name != "auto" and name not in TARGETS:
            raise ValueError(f"unknown target {name}; choose auto, {', '.join(TARGETS)}")
        return name

    @model_validator(mode="after")
    def _browsers_run_the_variants(self) -> Export:
        if self.target == "auto" or not TARGETS[self.target].browser:
            return self
        able = [name for name, variant in VARIANTS.items() if variant.browser and name != PLAIN.name]
        for name in self.variants or []:
            if name not in able:
                refused = f"{name} is not for browsers, and target is {self.target}"
                raise ValueError(f"variants: {refused}; name {', '.join(able)}")
        if self.tensorrt.enabled:
            raise ValueError(f"tensorrt: browsers run no engines, and target is {self.target}; leave one out")
        return self

    @model_validator(mode="after")
    def _variants_are_in_the_opset(self) -> Export:
        for name in self.variants or []:
            variant = VARIANTS[name]
            if not variant.is_in(self.opset):
                needed = f"needs opset {variant.first_opset} or later"
                raise ValueError(f"variants: {name} {needed}, and opset is {self.opset}; leave one out")
        return self
