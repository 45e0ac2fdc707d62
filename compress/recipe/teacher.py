"""The recipe's section on the teacher."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from compress.recipe.section import Few, Fraction, NonEmpty, Positive, Section, Width, check_heads
from compress.recipe.training import NewTokenizer, Training

Precision = Literal["float32", "bfloat16", "float16"]
PoolingMode = Literal["first", "last", "max", "mean", "mean-sqrt", "weighted-mean"]
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
"""How vectors are compared: of distances the smallest is the most alike."""
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")  # tokens have small letters: none is taken for a variable's name


class Scratch(Section):
    """A teacher without pretrained weights and with its own tokenizer: ModernBERT with mean pooling; for translation
    M2M100."""

    tokenizer: NewTokenizer = NewTokenizer()
    layers: Few = Field(4, description="layers; translation: of the encoder")
    decoder_layers: Few | None = Field(None, description="translation; null: as many as `layers`")
    hidden_size: Width = Field(192, description="width: a multiple of `heads`")
    heads: Width = Field(3, description="attention heads of a layer")
    feed_forward_size: Width = Field(384, description="width of the feed-forward part")
    dropout: Fraction = Field(0.0, description="share of activations that are dropped in training")
    pretraining: Training | None = Field(None, description="masked-language training on the same text beforehand")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Scratch:
        check_heads(self.heads, self.hidden_size)
        return self


class Vocabulary(Section):
    """Trimming: tokens that the training text does not use are dropped from tokenizer and embeddings."""

    trim: bool = Field(False, description="drop the tokens that the text does not use")
    minimum_count: Positive = Field(1, description="a token is kept if the text uses it this often")
    coverage: Fraction = Field(
        1.0, description="keep the most frequent tokens that make up this share of each language's text"
    )
    tokens: Positive | None = Field(
        None, description="keep at most this many, so that all languages keep the same share of their text; null: all"
    )
    fill: bool = Field(
        False,
        description="keep as many as `tokens` says where the text uses fewer: others of its characters, the "
        "tokenizer's most usual first",
    )
    keep: list[str] = Field(default_factory=list, description="tokens that are kept in any case")
    max_loss: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="refuse to lose more than this percentage of the tokens of any language's validation text"
    )

    @model_validator(mode="after")
    def _only_so_many_can_be_filled_up(self) -> Vocabulary:
        if self.fill and self.tokens is None:
            raise ValueError("fill: it fills up to `tokens`, and there is no such number; set tokens too")
        return self


class Embedding(Section):
    """What a text's vector is made of its tokens' besides pooling, where the task is embedding."""

    normalize: bool | None = Field(
        None, description="length one; null: as `modules.json` beside the model says, and where there is none, yes"
    )
    dimensions: Positive | None = Field(None, description="keep so many numbers of a vector, the first; null: all")
    similarity: Similarity | None = Field(
        None, description="how vectors are compared; null: as the model says, and where it does not, cosine"
    )

    @property
    def compared_by(self) -> Similarity:
        """How vectors are compared, where what the model says has been taken over."""
        return self.similarity or "cosine"


class Teacher(Section):
    """The large model that the student learns from."""

    model: NonEmpty | None = Field(None, description="folder or hub id; null: train one from scratch")
    revision: NonEmpty | None = Field(
        None, description="branch, tag or commit of a hub id; null: its main branch. The run notes the commit"
    )
    subfolder: NonEmpty | None = Field(None, description="where the files lie in the folder or repository")
    token: str | Literal[True] | None = Field(
        None,
        description="the environment variable that holds the token for a private hub id, or true: `hf auth login` was "
        "run; null: that login, where there is one. Never the token itself",
    )
    dtype: Precision = Field(
        "float32",
        description="numbers that a teacher that is taken as it is computes with; student and graphs: float32",
    )
    predictions: NonEmpty | None = Field(
        None,
        description="text classification and reranking: file of what a teacher says of the rows, which is not asked "
        "then: their text and `probabilities`, or a label and its `confidence`; passages of queries with a `score`. "
        "`model`, or one from scratch, gives the student its tokenizer and first weights alone",
    )
    fine_tune: bool = Field(True, description="false: take `model` as it is")
    pooling: PoolingMode | Annotated[list[PoolingMode], Field(min_length=1)] | None = Field(
        None,
        description="what a classifier that is fine-tuned reads of a text's tokens: the first, or the mean of all, for "
        "which embedding models are made; null: the mean where `modules.json` beside the model says so, else what its "
        "architecture is used to. Embedding: how the tokens' vectors become one, where no `modules.json` says it; of "
        "several the vectors stand side by side",
    )
    embedding: Embedding = Embedding()
    allow_unknown_tokens: list[str] = Field(
        default_factory=list,
        description="languages that may have more than 30 % of tokens that the teacher's tokenizer does not know",
    )
    trust_remote_code: bool = Field(False, description="run the code that comes with the model")
    code_revision: NonEmpty | None = Field(
        None,
        description="branch, tag or commit of that code where it lies in another repository; null: its main branch. "
        "The run notes the commit",
    )
    vocabulary: Vocabulary = Vocabulary()
    scratch: Scratch = Scratch()
    training: Training = Training()

    @field_validator("token", mode="before")
    @classmethod
    def _token_is_not_written_down(cls, token: object) -> object:
        if token is None or token is True or (isinstance(token, str) and _VARIABLE.fullmatch(token)):
            return token
        raise ValueError("must be the name of an environment variable in capital letters, or true; not the token")

    @property
    def read_by_classifiers(self) -> Literal["first", "mean"] | None:
        """What a classifier reads of a text's tokens."""
        return self.pooling if self.pooling == "first" or self.pooling == "mean" else None

    @property
    def is_trained(self) -> bool:
        """Whether it learns the rows' labels."""
        return self.predictions is None and (self.fine_tune or self.model is None)

    @model_validator(mode="after")
    def _what_a_file_says_is_not_learnt(self) -> Teacher:
        usual = type(self).model_construct()
        given = [name for name in ("fine_tune", "training") if getattr(self, name) != getattr(usual, name)]
        if self.predictions and given:
            raise ValueError(f"{given[0]} is for a teacher that is asked, and predictions are given; leave it out")
        return self

    @model_validator(mode="after")
    def _training_is_in_full_precision(self) -> Teacher:
        if self.dtype != "float32" and (self.fine_tune or self.model is None):
            raise ValueError(f"dtype {self.dtype} is for a model that is taken as it is; set fine_tune: false")
        return self

    @model_validator(mode="after")
    def _what_is_not_there_lies_nowhere(self) -> Teacher:
        names = ("revision", "subfolder", "token", "code_revision")
        given = [name for name in names if getattr(self, name) is not None]
        if self.model is None and given:
            raise ValueError(f"{given[0]} is of a model; name it in teacher.model, or leave it out")
        return self
