"""What a model from elsewhere is let in by: it is looked at with the run's own rows, before anything long starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from compress.console import say
from compress.contract import Contract
from compress.errors import CompressError
from compress.models.checks import longest_input, sentence_modules, stored_precision, token_embeddings
from compress.models.load import load_teacher
from compress.models.pooling import reads_mean, told_to_take_mean
from compress.models.source import Code, Source, fetch
from compress.models.tokenizer_files import TOKENIZER_JSON, TokenComparison, compare_with_file
from compress.models.tokenizers import token_ids, unknown_share
from compress.recipe.teacher import Teacher
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Texts = Mapping[str, Sequence[str]]
"""By language."""

# Of the tokens of a language's text: a few rare characters are nothing unusual, a script that is not known is.
_WARNED_UNKNOWN, _REFUSED_UNKNOWN = 0.05, 0.3
# Of a language's tokens: odd spaces come out otherwise in many classes; a sign in every sentence is more than that.
_REFUSED_OTHERS = 0.01
_CLASS_OF_THE_FILE = "PreTrainedTokenizerFast"  # which reads tokenizer.json as it is


class Intake(Contract):
    """What was looked at of a model from elsewhere."""

    revision: str | None = Field(description="commit of the hub that its files are of; null: a folder")
    code: Code | None = Field(None, description="where its own code lies in another repository")
    precision: str = Field(description="what most of its weights are stored in")
    positions: int | None = Field(description="tokens of a row that it can read; null: as many as there are")
    tokens: int = Field(description="that its tokenizer knows")
    embeddings: int | None = Field(description="of tokens; null: of characters")
    tokenizer: TokenComparison | None = Field(description="with its file; null: there is none to compare it with")
    unknown_tokens: dict[str, float] = Field(description="share of the tokens by language, 0 to 1")
    left_out: list[str] = Field(description="modules of modules.json that the task has no use for")


@dataclass(frozen=True)
class TakenIn:
    """A model from elsewhere with its tokenizer, and what was looked at."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    intake: Intake


def take_in(task: Task, settings: Teacher, labels: Sequence[str], max_length: int, texts: Texts) -> TakenIn:
    """Load the model that a recipe names, and its tokenizer, if both are whole and fit one another and the rows.

    What was looked at is said, with warnings.

    :param labels: As for `load_teacher`, of which it also has the errors.
    :param max_length: Tokens of a row.
    :param texts: Of the run's rows, a sample of each language.
    :raises CompressError: If the tokenizer does not split the rows as its file says, or hardly knows a language.
    """
    source = fetch(settings)
    model, tokenizer = load_teacher(task, settings, labels, max_length)
    ids = {language: token_ids(tokenizer, own) for language, own in texts.items()}
    encoded = {language: list(zip(texts[language], own, strict=True)) for language, own in ids.items()}
    compared = compare_with_file(tokenizer, source.folder, encoded)
    intake = Intake(
        revision=source.revision,
        code=source.code,
        precision=stored_precision(source.folder),
        positions=longest_input(model),
        tokens=len(tokenizer),
        embeddings=token_embeddings(model),
        tokenizer=compared,
        unknown_tokens={language: unknown_share(tokenizer, own) for language, own in ids.items()},
        left_out=[] if task.VECTORS else _left_out(source, model),
    )
    _tell(source, intake, settings)
    warn_of_bare_texts(source, tokenizer)
    if compared:
        check_split(source, type(tokenizer).__name__, compared)
    check_teacher_knows(intake.unknown_tokens, settings)
    return TakenIn(model, tokenizer, intake)


def _left_out(source: Source, model: PreTrainedModel) -> list[str]:
    pooled = reads_mean(model.config) and told_to_take_mean(source)
    return [kind for kind in sentence_modules(source) if not (pooled and kind == "Pooling")]


def check_tokenizer(source: Source, tokenizer: PreTrainedTokenizerBase, texts: Texts) -> None:
    """Look at how a tokenizer splits texts, where no run notes it.

    :param texts: By language, or by what messages call them.
    :raises CompressError: As `check_split`.
    """
    encoded = {name: list(zip(own, token_ids(tokenizer, own), strict=True)) for name, own in texts.items()}
    warn_of_bare_texts(source, tokenizer)
    if compared := compare_with_file(tokenizer, source.folder, encoded):
        check_split(source, type(tokenizer).__name__, compared)


def check_teacher_knows(unknown: Mapping[str, float], settings: Teacher) -> None:
    """`check_known` of a teacher, whose recipe may allow languages.

    :raises CompressError: Naming the languages, or one that is allowed and has no rows.
    """
    if strangers := sorted({*settings.allow_unknown_tokens} - {*unknown}):
        raise CompressError(f"teacher.allow_unknown_tokens: no rows in {strangers[0]}")
    mend = "use one that reads them" if settings.model else "raise teacher.scratch.tokenizer.vocabulary_size"
    check_known("teacher", unknown, mend, settings.allow_unknown_tokens)


def check_known(whose: str, unknown: Mapping[str, float], mend: str, allowed: Collection[str] | None = None) -> None:
    """Warn of languages whose text a tokenizer knows badly, and refuse those that it hardly knows.

    :param unknown: Share of the tokens by language, 0 to 1.
    :param allowed: By ``teacher.allow_unknown_tokens``; none where that does not hold.
    :raises CompressError: Naming the languages.
    """
    told = {language: f"{100 * share:.1f} % of the tokens in {language}" for language, share in unknown.items()}
    refused = [name for name, share in unknown.items() if share > _REFUSED_UNKNOWN and name not in (allowed or [])]
    if refused:
        allow = "" if allowed is None else f", or allow it: teacher.allow_unknown_tokens: [{', '.join(refused)}]"
        names = ", ".join(told[name] for name in refused)
        raise CompressError(f"{whose}: its tokenizer does not know {names}; {mend}{allow}")
    for name, share in unknown.items():
        if share > _WARNED_UNKNOWN:
            say(f"{whose}: warning: its tokenizer does not know {told[name]}")


def warn_of_bare_texts(source: Source, tokenizer: PreTrainedTokenizerBase) -> None:
    """Warn of a tokenizer that puts none of its own tokens around a text: some classes forget that where they are made
    of a SentencePiece file (RemBERT)."""
    first, last = tokenizer.cls_token, tokenizer.sep_token
    if first and last and not {first, last} & {*tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"])}:
        say(
            f"{source}: warning: its tokenizer has {first} and {last} and puts neither around a text; if the model was "
            f"trained with them, put its {TOKENIZER_JSON} beside its config.json"
        )


def check_split(source: Source, kind: str, compared: TokenComparison) -> None:
    """Warn of a tokenizer that does not split all texts as its file says, and refuse one that hardly does.

    :param kind: The tokenizer's class.
    :raises CompressError: Naming the file, the language that it is worst for, and an example.
    """
    if not compared.other_tokens:
        return
    worst, share = max(compared.other_tokens.items(), key=lambda entry: entry[1])
    found = (
        f"the tokenizer that transformers makes of it ({kind}) splits {compared.differing} of {compared.texts} texts "
        f"otherwise than its {compared.file}: {100 * share:.1f} % of the tokens in {worst} are others "
        f"({compared.example})"
    )
    where = "tokenizer_config.json" if source.revision is None else "the tokenizer_config.json of a copy of it"
    exactly = f"set tokenizer_class: {_CLASS_OF_THE_FILE} and its special tokens in {where}"
    if compared.file != TOKENIZER_JSON:
        exactly = (
            f"name its own class as tokenizer_class in {where}, or put there the {TOKENIZER_JSON} that transformers 4 "
            "makes of it"
        )
    if share > _REFUSED_OTHERS:
        raise CompressError(f"{source}: {found}; {exactly}")
    say(f"{source}: warning: {found}")


def _tell(source: Source, intake: Intake, settings: Teacher) -> None:
    """Say what was looked at."""
    commit = f"commit {intake.revision}, " if intake.revision else ""
    commit += f"code of {intake.code.repository}, commit {intake.code.revision}, " if intake.code else ""
    stored = f"weights in {intake.precision}"
    if intake.precision != settings.dtype:
        stored += f", which are read into {settings.dtype}"
    reads = "rows of any length" if intake.positions is None else f"{intake.positions:,} tokens of a row"
    say(f"{source}: {commit}{stored}; reads {reads}")
    known = f"a tokenizer with {intake.tokens:,} tokens"
    if intake.embeddings is not None:
        known += f", embeddings of {intake.embeddings:,}"
    if intake.tokenizer and not intake.tokenizer.differing:
        known += f"; {intake.tokenizer.texts:,} texts are split as its {intake.tokenizer.file} says"
    language, share = max(intake.unknown_tokens.items(), key=lambda entry: entry[1])
    known += f"; at most {100 * share:.1f} % of the tokens are unknown, in {language}" if share else ""
    say(f"{source}: {known}")
    if intake.left_out:
        say(
            f"{source}: warning: the task leaves out what modules.json names ({', '.join(intake.left_out)}): "
            "its head reads the transformer's own outputs"
        )
