"""The recipe: everything a run depends on, in one YAML file. Every field has a default: an empty recipe is the demo."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, field_validator, model_validator

from compress.recipe.bench import Bench
from compress.recipe.bundle import Bundle
from compress.recipe.export import Export
from compress.recipe.section import Fraction, Positive, Section

Shape = TypeVar("Shape", bound=BaseModel)


def _checked_heads(shape: Shape, heads: int, hidden_size: int) -> Shape:
    if hidden_size % heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of heads {heads}")
    return shape


class Fields(Section):
    """Names of the columns in the user's files; null: what the task expects."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    lang: str | None = Field("lang", description="null: the rows carry no language")
    parallel: str | None = Field(None, description="rows with the same value are translations of one another")
    source_lang: str = Field("source_lang", description="translation: the language of the source")
    target_lang: str = Field("target_lang", description="translation: the language of the target")


class Data(Section):
    """Where the rows come from."""

    source: str = Field(
        "cldr",
        description="cldr (built in: classes of texts or, with fields.text_pair, of pairs; token labels), "
        "a folder, one file, or a data set name on the hub",
    )
    configuration: str | None = Field(None, description="configuration name of a hub data set")
    train: str | None = Field(None, description="explicit file for the split, in place of `source`")
    validation: str | None = None
    test: str | None = None
    unlabelled: str | None = Field(None, description="file of rows without labels, which the teacher gives them")
    fields: Fields = Field(default_factory=Fields)
    languages: list[str] | None = Field(None, description="keep these languages only")
    labelled_languages: list[str] | None = Field(
        None, description="use the labels of these languages only; the others are zero-shot"
    )
    max_length: Annotated[int, Field(ge=8, le=8192)] = Field(64, description="tokens of a row; longer rows are cut")
    language_codes: dict[str, str] = Field(
        default_factory=dict,
        description="translation: what the teacher calls the languages, where not as the data does",
    )
    prefix: str | None = Field(None, description='translation: before the source, "translate {source} to {target}: "')

    @field_validator("prefix")
    @classmethod
    def _prefix_names_languages(cls, prefix: str | None) -> str | None:
        try:
            (prefix or "").format(source="", target="")
        except (KeyError, IndexError, ValueError):
            raise ValueError("only {source} and {target} can be filled in") from None
        return prefix

    @model_validator(mode="after")
    def _splits_come_together(self) -> Data:
        given = [name for name in ("train", "validation", "test") if getattr(self, name)]
        if given and len(given) < 3:
            raise ValueError(f"'{given[0]}' is given: train, validation and test must be given together")
        return self


class Training(Section):
    """One training: the defaults are the demo's teacher."""

    epochs: Annotated[float, Field(gt=0)] = 2
    batch_size: Positive = Field(32, description="rows of one step, over all processes")
    gradient_accumulation: Positive = Field(1, description="parts that a step is computed in, to save memory")
    learning_rate: Annotated[float, Field(gt=0)] = 1.2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Fraction = Field(0.1, description="share of the steps in which the learning rate rises")
    mask_probability: Fraction = Field(0.2, description="share of tokens replaced by the mask token, as regularisation")
    label_smoothing: Fraction = 0.0
    language_exponent: Fraction = Field(
        1.0, description="languages are drawn with their number of rows to this power: 1 as they are, 0 all alike"
    )
    checkpoint_steps: Positive = Field(1000, description="steps between checkpoints; one is written each epoch too")
    compile: bool = Field(False, description="torch.compile: pays on GPUs and in long trainings")


class NewTokenizer(Section):
    """A tokenizer that is trained on the training rows' text."""

    model: Literal["byte-pair", "unigram", "byte-level"] = Field(
        "byte-pair",
        description="byte-level: byte pairs of UTF-8, case kept; can be put into the ONNX graph with the same tokens",
    )
    vocabulary_size: Annotated[int, Field(ge=100)] = 4000
    longest_piece: Positive = Field(2, description="characters of a token at most; byte-level: bytes")
    lowercase: bool | None = Field(
        None, description="null: where the model reads, not where it writes; byte-level: never"
    )

    @model_validator(mode="after")
    def _bytes_are_taken_as_they_are(self) -> NewTokenizer:
        if self.model == "byte-level" and self.lowercase:
            raise ValueError("lowercase: a byte-level tokenizer takes text as it is; leave it out")
        if self.model == "byte-level" and self.vocabulary_size < 300:  # 256 bytes and the special tokens
            raise ValueError(f"vocabulary_size {self.vocabulary_size}: a byte-level tokenizer needs 300 or more")
        return self


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
    warm_up: Training | None = Field(None, description="masked-language training on the same text beforehand")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Scratch:
        return _checked_heads(self, self.heads, self.hidden_size)


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


class LayerSignal(Section):
    """A signal that student layers take from teacher layers."""

    weight: Annotated[float, Field(ge=0)] = 0.0
    layers: Literal["uniform", "last"] | list[Positive] = Field(
        "uniform", description="teacher layers: evenly spread, the last ones, or one given for each student layer"
    )


class EmbeddingSignal(Section):
    weight: Annotated[float, Field(ge=0)] = 0.0


class RelationSignal(Section):
    """Self-attention relations (MiniLMv2): the student's last layer learns from one teacher layer."""

    weight: Annotated[float, Field(ge=0)] = 0.0
    layer: Positive | None = Field(None, description="teacher layer, counted from 1; null: the last")
    heads: Positive = Field(8, description="relation heads: a divisor of both widths")


class SentenceSignal(Section):
    """Cosine of sentence vectors."""

    weight: Annotated[float, Field(ge=0)] = 0.0


class SequenceSignal(Section):
    """Translation: the teacher's own translations take the place of the rows' (Kim & Rush, 2016)."""

    enabled: bool = False
    beams: Positive = 4


class Distillation(Section):
    """loss = alpha * hard + (1 - alpha) * soft + the sum of weight * signal."""

    alpha: Fraction = Field(0.1, description="balance: 1 is labels alone, 0 is the teacher alone")
    temperature: Annotated[float, Field(gt=0)] = 2.0
    final_temperature: Annotated[float, Field(gt=0)] | None = Field(
        None, description="the temperature moves to this one over the training; null: it stays"
    )
    hidden: LayerSignal = LayerSignal()
    embeddings: EmbeddingSignal = EmbeddingSignal()
    attention: LayerSignal = LayerSignal()
    relations: RelationSignal = RelationSignal()
    sentences: SentenceSignal = SentenceSignal()
    sequences: SequenceSignal = SequenceSignal()
    pivot: str | None = Field(
        None, description="language that the teacher reads in place of each row: its parallel sentence"
    )
    group_dro: Annotated[float, Field(ge=0)] = Field(
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
    def token_signals(self) -> list[str]:
        """Signals with a weight that compare teacher and student token by token."""
        return [name for name in ("hidden", "embeddings", "attention", "relations") if getattr(self, name).weight]


class RowChoice(Section):
    """Which rows the student learns from, and how much each counts, by what the teacher says of them."""

    minimum_confidence: Fraction = Field(0.0, description="drop rows of which the teacher is less sure")
    drop_disagreement: bool = Field(False, description="drop rows whose label is not what the teacher predicts")
    weight_by_confidence: bool = Field(False, description="rows count as much as the teacher is sure of them")


class Cache(Section):
    """What is kept of the teacher's outputs, on disk."""

    precision: Literal["fp32", "fp16"] = "fp32"
    limit_gb: Annotated[float, Field(gt=0)] = Field(50.0, description="refuse to write more than this")


class Student(Section):
    every_nth_layer: Positive | None = Field(None, description="copy every n-th teacher layer; the shape is ignored")
    layers: Positive = 1
    decoder_layers: Positive | None = Field(
        None, description="translation; null: as many as `layers`, or every n-th of the teacher's"
    )
    hidden_size: Positive = 128
    heads: Positive = 2
    feed_forward_size: Positive = 256
    initialization: Literal["random", "embeddings", "importance", "svd"] = Field(
        "embeddings",
        description="start from new weights, the teacher's embeddings, its most important heads, neurons and channels, "
        "or the leading singular directions of its weights",
    )
    tokenizer: NewTokenizer | None = Field(None, description="train the student its own; null: the teacher's")
    languages: list[str] | None = Field(None, description="train on the rows of these languages only")
    rows: RowChoice = RowChoice()
    distillation: Distillation = Distillation()
    cache: Cache = Cache()
    training: Training = Training(epochs=8, batch_size=64, learning_rate=3e-3, mask_probability=0.15)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Student:
        return _checked_heads(self, self.heads, self.hidden_size)

    @model_validator(mode="after")
    def _own_tokens_are_not_compared(self) -> Student:
        if self.tokenizer and self.distillation.token_signals:
            raise ValueError(
                f"a student with a tokenizer of its own reads other tokens than its teacher: "
                f"{self.distillation.token_signals[0]} cannot be compared; use sentences, or the teacher's tokenizer"
            )
        return self


class Generation(Section):
    """How translations are searched for, at most ``data.max_length`` tokens."""

    beams: Positive = Field(1, description="1: the most likely token each time")
    length_penalty: float = Field(1.0, description="more than 0 favours long translations, less short ones")


class Evaluation(Section):
    yardstick: bool = Field(False, description="also fit TF-IDF with logistic regression, for comparison")


class Recipe(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "demo"
    task: Literal["text-classification", "token-classification", "question-answering", "translation"] = (
        "text-classification"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: Data = Data()
    teacher: Teacher = Teacher()
    student: Student = Student()
    generation: Generation = Generation()
    evaluation: Evaluation = Evaluation()
    export: Export = Export()
    bench: Bench = Bench()
    bundle: Bundle = Bundle()

    @model_validator(mode="after")
    def _measured_lengths_can_be_read(self) -> Recipe:
        longest = max(self.bench.lengths or [0])
        if longest > self.data.max_length:
            raise ValueError(f"bench.lengths: {longest} is more than data.max_length {self.data.max_length}")
        return self

    @model_validator(mode="after")
    def _only_rows_have_classes(self) -> Recipe:
        if self.task == "text-classification":
            return self
        if self.task in ("question-answering", "translation") and self.data.source == "cldr" and not self.data.train:
            raise ValueError(f"data.source: the built-in data has no rows for {self.task}; name a file or folder")
        wanted = {
            "data.unlabelled": self.data.unlabelled,
            "student.rows": self.student.rows != RowChoice(),
            "student.distillation.pivot": self.student.distillation.pivot,
            "student.tokenizer": self.student.tokenizer,
            "evaluation.yardstick": self.evaluation.yardstick,
        }
        for field, given in wanted.items():
            if given:
                raise ValueError(f"{field} is for text-classification, the task is {self.task}; leave it out")
        return self

    @model_validator(mode="after")
    def _writing_has_its_own_fields(self) -> Recipe:
        student, writes = self.student, self.task == "translation"
        reading: dict[str, Any] = {
            **{f"student.distillation.{name}": True for name in student.distillation.token_signals},
            "student.distillation.sentences": student.distillation.sentences.weight,
            "student.initialization": student.initialization in ("importance", "svd"),
            "teacher.vocabulary.trim": self.teacher.vocabulary.trim,
            "teacher.scratch.warm_up": self.teacher.scratch.warm_up,
        }
        for field, given in reading.items():
            if writes and given:
                raise ValueError(f"{field} is for models that read, the task is translation; leave it out")
        writing: dict[str, Any] = {
            "student.distillation.sequences": student.distillation.sequences.enabled,
            "student.decoder_layers": student.decoder_layers,
            "teacher.scratch.decoder_layers": self.teacher.scratch.decoder_layers,
        }
        for field, given in writing.items():
            if given and not writes:
                raise ValueError(f"{field} is for translation, the task is {self.task}; leave it out")
        return self
