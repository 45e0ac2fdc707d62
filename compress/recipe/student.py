"""The recipe's section on the student and what it learns from its teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compress.recipe.section import Few, Fraction, Positive, Section, Weight, Width, check_heads
from compress.recipe.training import NewTokenizer, StudentTraining

Temperature = Annotated[float, Field(ge=0.01, le=1000)]


Initialization = Literal["random", "embeddings", "importance", "svd"]


class LayerSignal(Section):
    """A signal that student layers take from teacher layers."""

    weight: Weight = Field(0.0, description="of the signal in the loss; 0: it is left out")
    layers: Literal["uniform", "last"] | list[Few] = Field(
        "uniform", description="teacher layers: evenly spread, the last ones, or one given for each student layer"
    )


class EmbeddingSignal(Section):
    """The embedding layers' outputs."""

    weight: Weight = Field(0.0, description="of the signal in the loss; 0: it is left out")


class RelationSignal(Section):
    """Self-attention relations (MiniLMv2): the student's last layer learns from one teacher layer."""

    weight: Weight = Field(0.0, description="of the signal in the loss; 0: it is left out")
    layer: Few | None = Field(None, description="teacher layer, counted from 1; null: the last")
    heads: Width = Field(8, description="relation heads: a divisor of both widths")


class SentenceSignal(Section):
    """Cosine of sentence vectors."""

    weight: Weight = Field(0.0, description="of the signal in the loss; 0: it is left out")


RankingLoss = Literal["distances", "margins", "lists"]


class VectorSignal(Section):
    """Embedding: what the student learns of its teacher's vectors, in place of hard and soft loss.

    The loss is `cosine`, `mse` and `similarities`, each times its value, and the other signals with theirs.
    """

    cosine: Weight = Field(1.0, description="weight of one minus the cosine with the teacher's vector")
    mse: Weight = Field(0.0, description="weight of the mean squared difference from the teacher's vector")
    similarities: Weight = Field(
        1.0,
        description="weight of the divergence of how alike a text is to what the teacher makes of others, as the "
        "student has it, from the teacher's",
    )
    temperature: Temperature = Field(0.05, description="softens these similarities, which are cosines")
    dimensions: list[Positive] = Field(
        default_factory=list,
        description="the first so many numbers of a vector learn the similarities too, each part for itself "
        "(Matryoshka): [256, 128, 64]",
    )
    projection: Literal["dense", "principal-components"] = Field(
        "dense",
        description="dense: a narrower student ends with a layer that gives its vectors the teacher's length. "
        "principal-components: its vectors stay as long as it is wide, and learn the teacher's on their axes, the "
        "first of which tell most",
    )

    @property
    def weights(self) -> dict[str, float]:
        """By name."""
        return {"cosine": self.cosine, "mse": self.mse, "similarities": self.similarities}

    @model_validator(mode="after")
    def _parts_learn_similarities(self) -> VectorSignal:
        if self.dimensions and not self.similarities:
            raise ValueError("dimensions: parts of vectors learn the similarities, whose weight is 0; leave them out")
        return self


class SequenceSignal(Section):
    """Translation: the teacher's own translations take the place of the rows' (Kim & Rush, 2016)."""

    enabled: bool = Field(False, description="train on the teacher's translations")
    beams: Few = Field(4, description="of the search that writes them")


class Distillation(Section):
    """loss = alpha * hard + (1 - alpha) * soft + the sum of weight * signal."""

    alpha: Fraction = Field(0.1, description="balance: 1 is labels alone, 0 is the teacher alone")
    temperature: Temperature = Field(2.0, description="softens both models' probabilities")
    final_temperature: Temperature | None = Field(
        None, description="the temperature moves to this one over the training; null: it stays"
    )
    ranking: RankingLoss = Field(
        "margins",
        description="reranking: what the soft loss compares: scores (squared distance), by how much passages of "
        "a query are apart (margin MSE), or the distributions over a query's passages (`temperature`)",
    )
    hidden: LayerSignal = LayerSignal()
    embeddings: EmbeddingSignal = EmbeddingSignal()
    attention: LayerSignal = LayerSignal()
    relations: RelationSignal = RelationSignal()
    sentences: SentenceSignal = SentenceSignal()
    vectors: VectorSignal = VectorSignal()
    sequences: SequenceSignal = SequenceSignal()
    pivot: str | None = Field(
        None, description="language that the teacher reads in place of each row: its parallel sentence"
    )
    group_dro: Weight = Field(
        0.0, description="step size of the weights that protect the weakest language; 0: all rows count alike"
    )

    @model_validator(mode="after")
    def _pivot_has_other_tokens(self) -> Distillation:
        if self.pivot and self.token_signals:
            raise ValueError(
                f"with a pivot the teacher reads other tokens than the student: {self.token_signals[0]} cannot be "
                "compared; use sentences, or no pivot"
            )
        return self

    @property
    def model_signals(self) -> list[str]:
        """What is asked for that a model alone can give, of these or of other rows."""
        return [*self.layer_signals, *(["pivot"] if self.pivot else [])]

    @property
    def token_signals(self) -> list[str]:
        """Signals with a weight that compare teacher and student token by token."""
        return [name for name in ("hidden", "embeddings", "attention", "relations") if getattr(self, name).weight]

    @property
    def layer_signals(self) -> list[str]:
        """Signals with a weight that compare what layers give: `token_signals`, and their mean over a text."""
        return [*self.token_signals, *(["sentences"] if self.sentences.weight else [])]


class RowChoice(Section):
    """Which rows the student learns from, and how much each counts, by what the teacher says of them."""

    minimum_confidence: Fraction = Field(0.0, description="drop rows of which the teacher is less sure")
    drop_disagreement: bool = Field(False, description="drop rows whose label is not what the teacher predicts")
    weight_by_confidence: bool = Field(False, description="rows count as much as the teacher is sure of them")


CopyKind = Literal["pieces", "dropped", "joined", "translations"]


class Augmentation(Section):
    """Copies of the training rows that say something else, and whose labels the teacher alone tells."""

    copies: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="of each training row, not of those of `data.unlabelled`; 0: none"
    )
    kinds: Annotated[list[CopyKind], Field(min_length=1)] = Field(
        ["pieces", "dropped", "joined", "translations"],
        description="a piece of a text; words left out; pieces of two texts, in any two languages; halves of a "
        "sentence and of its translation, where `data.fields.parallel` tells it, else a piece; "
        "of pairs the second is changed",
    )


class Cache(Section):
    """What is kept of the teacher's outputs, on disk."""

    precision: Literal["fp32", "fp16"] = Field("fp32", description="of what is stored; fp16 halves it")
    compute: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="what the teacher's products are computed in; bf16 is for those that are faster with it "
        "(AMX, AMD's AVX512-BF16, GPUs), and how far its outputs are from those in 32 bits is told; "
        "on others 32 bits are taken",
    )
    limit_gb: Annotated[float, Field(gt=0, le=1_000_000)] = Field(50.0, description="refuse to write more than this")


_OF_LAYERS = (
    "every_nth_layer",
    "layers",
    "decoder_layers",
    "heads",
    "feed_forward_size",
    "initialization",
    "tokenizer",
)
_STATIC_RATE = 0.01  # token vectors alone bear, and need, larger steps than layers


class Student(Section):
    """The small model: its shape, first weights and training; or none, and the teacher itself is exported."""

    kind: Literal["distilled", "static", "as-is"] = Field(
        "distilled",
        description="static: a table of token vectors, `hidden_size` long, their mean and a linear layer; as-is: there "
        "is no student; the model that `teacher` describes is exported",
    )
    every_nth_layer: Positive | None = Field(
        None,
        description="copy every n-th teacher layer, in its width; cut to `hidden_size`, `heads` and "
        "`feed_forward_size` where `initialization` is `importance` or `svd`",
    )
    layers: Few = Field(1, description="layers, unless every n-th is taken; translation: of the encoder")
    decoder_layers: Few | None = Field(
        None, description="translation; null: as many as `layers`, or every n-th of the teacher's"
    )
    hidden_size: Width = Field(128, description="width: a multiple of `heads`")
    heads: Width = Field(2, description="attention heads of a layer")
    feed_forward_size: Width = Field(256, description="width of the feed-forward part")
    initialization: Initialization = Field(
        "embeddings",
        description="start from new weights, the teacher's embeddings, its most important heads, neurons and channels, "
        "or the leading singular directions of its states on a sample of rows",
    )
    tokenizer: NewTokenizer | None = Field(None, description="train the student its own; null: the teacher's")
    vocabulary_size: Positive | None = Field(
        None,
        description="keep so many of the teacher's tokens: those that the rows use, so that all languages keep the "
        "same share of their text, and where these are fewer, other usual ones of their characters; null: all",
    )
    languages: list[str] | None = Field(None, description="train on the rows of these languages only")
    seeds: Few = Field(
        1,
        description="train so many students, from `seed` on; the best on validation rows is kept, the spread told",
    )
    rows: RowChoice = RowChoice()
    augmentation: Augmentation = Augmentation()
    distillation: Distillation = Distillation()
    cache: Cache = Cache()
    training: StudentTraining = StudentTraining()

    @property
    def is_learnt(self) -> bool:
        """Whether there is one, which learns from its teacher."""
        return self.kind != "as-is"

    @property
    def is_cut(self) -> bool:
        """Whether it is cut out of its teacher in a width of its own."""
        return self.initialization in ("importance", "svd")

    @property
    def copies_layers(self) -> bool:
        """Whether its layers are some of its teacher's as they are."""
        return self.every_nth_layer is not None and not self.is_cut

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Student:
        if self.kind != "static":
            check_heads(self.heads, self.hidden_size)
        return self

    @model_validator(mode="after")
    def _what_is_not_there_has_no_fields(self) -> Student:
        usual = type(self).model_construct(kind=self.kind)
        given = [name for name in type(self).model_fields if getattr(self, name) != getattr(usual, name)]
        if self.kind == "as-is" and given:
            raise ValueError(f"kind: as-is means that there is no student; leave out {given[0]}")
        layered = [name for name in given if name in _OF_LAYERS]
        if self.kind == "static" and layered:
            raise ValueError(f"kind: static has vectors of tokens and no layers; leave out {layered[0]}")
        signals = self.distillation.layer_signals
        if self.kind == "static" and signals:
            raise ValueError(f"kind: static has no layers that distillation.{signals[0]} could compare; leave it out")
        return self

    @model_validator(mode="after")
    def _copies_have_no_translations(self) -> Student:
        if self.augmentation.copies and self.distillation.pivot:
            raise ValueError("augmentation.copies: no copy has a parallel sentence that distillation.pivot could be of")
        return self

    @model_validator(mode="after")
    def _own_tokens_are_not_compared(self) -> Student:
        if self.tokenizer and self.vocabulary_size:
            raise ValueError("vocabulary_size is of the teacher's tokens, and tokenizer trains others; leave one out")
        if (self.tokenizer or self.vocabulary_size) and self.distillation.token_signals:
            whose = "a tokenizer of its own" if self.tokenizer else "fewer tokens"
            raise ValueError(
                f"a student with {whose} reads other tokens than its teacher: "
                f"{self.distillation.token_signals[0]} cannot be compared; use sentences, or the teacher's tokenizer"
            )
        return self


def static_student_of(student: Student, numbers: int) -> Student:
    """The static student that learns what another one does, but for what only layers can.

    :param numbers: How long its vectors are.
    """
    told = student.model_dump(exclude={*_OF_LAYERS, "kind", "hidden_size"})
    told["distillation"] = student.distillation.model_dump(exclude={*student.distillation.layer_signals})
    rate = max(student.training.learning_rate, _STATIC_RATE)
    told["training"] = {**told["training"], "learning_rate": rate, "freeze": None}
    return Student.model_validate({**told, "kind": "static", "hidden_size": numbers})
