"""The recipe's section on data: where the rows come from and how they are read."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from compress.recipe.section import NonEmpty, Section


def _only_languages(prefix: str) -> str:
    """Refuse what `str.format` would do beside filling in the two names: attributes, indices, widths."""
    try:
        parts = [part[1:] for part in Formatter().parse(prefix) if part[1] is not None]
    except ValueError as error:
        raise ValueError("only {source} and {target} can be filled in; write other braces twice") from error
    if not all(part in (("source", "", None), ("target", "", None)) for part in parts):
        raise ValueError("only {source} and {target} can be filled in")
    return prefix


Prefix = Annotated[str, AfterValidator(_only_languages)]
"""A text for `str.format`; of a translation with the places ``{source}`` and ``{target}``."""


def check_prefix(prefix: str | None, *, translates: bool) -> None:
    """Refuse a prefix that names languages where rows have no pair of them.

    :raises ValueError: Naming it.
    """
    if prefix and not translates and any(place for _, place, *_ in Formatter().parse(prefix)):
        raise ValueError("prefix: {source} and {target} are the languages of a translation; write other braces twice")


class Fields(Section):
    """Names of the columns in the user's files; null: what the task expects."""

    text: str | None = Field(
        None, description="column of the text; of the tokens, the question or the source, as the task has it"
    )
    text_pair: str | None = Field(None, description="column of the second text; question answering: of the context")
    label: str | None = Field(
        None, description="column of the label; of the labels, the answers or the target, as the task has it"
    )
    lang: str | None = Field("lang", description="null: the rows carry no language")
    parallel: str | None = Field(None, description="rows with the same value are translations of one another")
    source_lang: str = Field("source_lang", description="translation: the language of the source")
    target_lang: str = Field("target_lang", description="translation: the language of the target")


class Negatives(Section):
    """Passages of other rows that each query is given besides its own, as none that answers it."""

    per_query: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="reranking: so many; 0: none")
    by: Literal["words", "mixed", "random"] = Field(
        "mixed",
        description="which passages of the language: those that share most with the query, by TF-IDF of character "
        "n-grams; half of them so, half at random; or all at random",
    )


class Data(Section):
    """Where the rows come from."""

    source: NonEmpty = Field(
        "cldr",
        description="cldr (built in: classes of texts or, with fields.text_pair, of pairs; token labels; for vectors "
        "texts with their translations, told by fields.parallel: parallel), a folder, one file, or a data set name on "
        "the hub",
    )
    configuration: str | None = Field(None, description="configuration name of a hub data set")
    train: NonEmpty | None = Field(None, description="explicit file for the split, in place of `source`")
    validation: NonEmpty | None = Field(None, description="the same for this split")
    test: NonEmpty | None = Field(None, description="the same for this split")
    negatives: Negatives = Negatives()
    unlabelled: NonEmpty | None = Field(None, description="file of rows without labels, which the teacher gives them")
    plain_text: Annotated[list[NonEmpty], Field(min_length=1)] | None = Field(
        None,
        description="files and folders of other text, as `compress trim --text` reads them; with the rows it says "
        "which tokens are kept where a vocabulary is trimmed",
    )
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
    label_names: dict[str, str] = Field(
        default_factory=dict,
        description="with teacher.fine_tune: false: what the teacher calls the labels, where not as the data does",
    )
    prefix: Prefix | None = Field(
        None,
        description="text put before each row's text (of pairs the first, before a question, before the first word): "
        '"query: "; translation: before the source, "translate {source} to {target}: "',
    )
    prompts: dict[str, str] | None = Field(
        None,
        description='embedding: what stands before a text, by what it is: {query: "query: ", passage: "passage: "}; '
        "null: the model's own",
    )
    default_prompt: str | None = Field(
        None, description="embedding: which of them stands before texts of which nothing is said; null: none"
    )

    @model_validator(mode="after")
    def _the_default_is_one_of_them(self) -> Data:
        if self.default_prompt is not None and self.default_prompt not in (self.prompts or {}):
            known = ", ".join(self.prompts or {}) or "none"
            raise ValueError(f"default_prompt: there is no prompt {self.default_prompt}; there is {known}")
        return self

    @model_validator(mode="after")
    def _rows_come_from_one_place(self) -> Data:
        if self.train and self.source != type(self).model_construct().source:
            raise ValueError(f"source: {self.source} is not read where train, validation and test are; leave one out")
        if self.configuration and (self.train or self.source == "cldr"):
            raise ValueError("configuration is of a data set on the hub; name it in source, or leave this out")
        return self

    @model_validator(mode="after")
    def _splits_come_together(self) -> Data:
        given = [name for name in ("train", "validation", "test") if getattr(self, name)]
        if given and len(given) < 3:
            raise ValueError(f"'{given[0]}' is given: train, validation and test must be given together")
        return self
