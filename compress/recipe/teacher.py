"""The recipe's section on the teacher."""

from __future__ import annotations

from pydantic import Field, model_validator

from compress.recipe.section import Fraction, Positive, Section, check_heads
from compress.recipe.training import NewTokenizer, Training


class Scratch(Section):
    """A teacher without pretrained weights and with its own tokenizer: ModernBERT with mean pooling; for translation
    M2M100."""

    tokenizer: NewTokenizer = NewTokenizer()
    layers: Positive = 4
    decoder_layers: Positive | None = Field(None, description="translation; null: as many as `layers`")
    hidden_size: Positive = 192
    heads: Positive = 3
    feed_forward_size: Positive = 384
    dropout: Fraction = 0.0
    pretraining: Training | None = Field(None, description="masked-language training on the same text beforehand")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Scratch:
        check_heads(self.heads, self.hidden_size)
        return self


class Vocabulary(Section):
    """Trimming: tokens that the training text does not use are dropped from tokenizer and embeddings."""

    trim: bool = False
    minimum_count: Positive = Field(1, description="a token is kept if the text uses it this often")
    coverage: Fraction = Field(
        1.0, description="keep the most frequent tokens that make up this share of each language's text"
    )


class Teacher(Section):
    model: str | None = Field(None, description="folder or hub id; null: train one from scratch")
    fine_tune: bool = Field(True, description="false: take `model` as it is")
    trust_remote_code: bool = False
    vocabulary: Vocabulary = Vocabulary()
    scratch: Scratch = Scratch()
    training: Training = Training()
