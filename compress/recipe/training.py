"""What any training needs, and tokenizers that are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compress.recipe.section import Epochs, Few, Fraction, LearningRate, Positive, Section, Weight

Freeze = Literal["embeddings"] | Few


class Training(Section):
    """One training: the defaults are the demo's teacher."""

    epochs: Epochs = Field(2, description="passes over the rows; a part of one is allowed")
    batch_size: Positive = Field(32, description="rows of one step, over all processes")
    gradient_accumulation: Positive = Field(1, description="parts that a step is computed in, to save memory")
    learning_rate: LearningRate = Field(1.2e-3, description="the highest, after the learning-rate warm-up")
    weight_decay: Weight = Field(0.01, description="pull of the weights towards zero")
    learning_rate_warmup: Fraction = Field(0.1, description="share of the steps in which the learning rate rises")
    mask_probability: Fraction = Field(0.2, description="share of tokens replaced by the mask token, as regularisation")
    label_smoothing: Fraction = Field(0.0, description="share of probability spread over all labels")
    language_exponent: Fraction = Field(
        1.0, description="languages are drawn with their number of rows to this power: 1 as they are, 0 all alike"
    )
    freeze: Freeze | None = Field(
        None,
        description="what stays as it is, and is not computed backwards: `embeddings`, or a number of lower layers "
        "with them",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="what products are computed in; weights stay in 32 bits. auto: half precision on GPUs. bf16 is for "
        "CPUs that are faster with it too (AMX, AMD's AVX512-BF16), for large models twice as fast; on others 32 bits "
        "are taken",
    )
    threads: Few | None = Field(None, description="null: all processors, or what OMP_NUM_THREADS says")
    checkpoint_steps: Positive = Field(
        1000, description="steps between checkpoints; one is written each epoch and on Ctrl-C too"
    )
    checkpoint_minutes: Annotated[float, Field(gt=0, le=100_000)] = Field(
        5, description="minutes after which one is written too, where one process trains"
    )
    compile: bool = Field(False, description="torch.compile: pays on GPUs and in long trainings")


class StudentTraining(Training):
    """The student's training: the defaults are the demo's student."""

    epochs: Epochs = Field(8, description="passes over the rows; a part of one is allowed")
    batch_size: Positive = Field(64, description="rows of one step, over all processes")
    learning_rate: LearningRate = Field(3e-3, description="the highest, after the learning-rate warm-up")
    mask_probability: Fraction = Field(
        0.15, description="share of tokens replaced by the mask token, as regularisation"
    )


class NewTokenizer(Section):
    """A tokenizer that is trained on the training rows' text."""

    model: Literal["byte-pair", "unigram", "byte-level"] = Field(
        "byte-pair",
        description="byte-level: byte pairs of UTF-8, case kept; can be put into the ONNX graph with the same tokens",
    )
    vocabulary_size: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        4000, description="tokens; byte-level: 300 or more"
    )
    longest_piece: Positive = Field(2, description="characters of a token at most; byte-level: bytes")
    lowercase: bool | None = Field(
        None, description="null: where the model reads, not where it writes; byte-level: never"
    )

    @model_validator(mode="after")
    def _pairs_have_two_parts(self) -> NewTokenizer:
        if self.model != "unigram" and self.longest_piece < 2:
            raise ValueError("longest_piece 1: a pair has 2 or more; use unigram for tokens of one character")
        return self

    @model_validator(mode="after")
    def _bytes_are_taken_as_they_are(self) -> NewTokenizer:
        if self.model == "byte-level" and self.lowercase:
            raise ValueError("lowercase: a byte-level tokenizer takes text as it is; leave it out")
        if self.model == "byte-level" and self.vocabulary_size < 300:  # 256 bytes and the special tokens
            raise ValueError(f"vocabulary_size {self.vocabulary_size}: a byte-level tokenizer needs 300 or more")
        return self
