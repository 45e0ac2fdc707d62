"""The recipe's section on the teacher."""

from __future__ import annotations

from pydantic import Field, model_validator

from compress.recipe.section import Few, Fraction, NonEmpty, Positive, Section, Width, check_heads
from compress.recipe.training import NewTokenizer, Training


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


class Teacher(Section):
    """The large model that the student learns from."""

    model: NonEmpty | None = Field(None, description="folder or hub id; null: train one from scratch")
    fine_tune: bool = Field(True, description="false: take `model` as it is")
    allow_unknown_tokens: list[str] = Field(
        default_factory=list,
        description="languages that may have more than 30 % of tokens that the teacher's tokenizer does not know",
    )
    trust_remote_code: bool = Field(False, description="run the code that comes with the model")
    vocabulary: Vocabulary = Vocabulary()
    scratch: Scratch = Scratch()
    training: Training = Training()
