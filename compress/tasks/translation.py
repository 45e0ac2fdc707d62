"""Translation: ``text`` is the source, ``label`` the translation, the language of a row its pair, as ``pt_BR-en``.

Several pairs live in one model by the tokenizer's language codes (M2M100, NLLB), by a token before the source
(``>>de<<``, as Marian has them and teachers from scratch), or by a prefix that the recipe gives (T5, mT5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import CompressError
from compress.metrics.metric import Bounds, Metric
from compress.tasks import usual
from compress.tasks.contract import NO_LABEL, Encode, Example, ProblemType, SplitBy, TextSettings, TrainingMetric
from compress.tasks.rows import Row, name_in, text_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {
    "text": "source",
    "label": "target",
    "source_lang": "source_lang",
    "target_lang": "target_lang",
}
AUTO_CLASS = "AutoModelForSeq2SeqLM"
PROBLEM_TYPE: ProblemType | None = None
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = "labels"
KEPT_LOGITS: int | None = 16
SINGLE_LABEL = False
SEVERAL_LABELS = False
GENERATES = True
VECTORS = False
NUMBERS = False
RANKS = False
BEST_EPOCH: TrainingMetric = "accuracy"
GRAPHS: tuple[str, ...] = ("encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx")
REFUSED_FIELDS: Mapping[str, str] = {
    **usual.RANKING_ONLY,
    **usual.VECTORS_ONLY,
    **usual.LABELLED_ROWS_ONLY,
    **usual.WHOLE_TEXTS_ONLY,
    **usual.LABELS_ONLY,
    **dict.fromkeys(
        (
            "student.distillation.hidden.weight",
            "student.distillation.embeddings.weight",
            "student.distillation.attention.weight",
            "student.distillation.relations.weight",
            "student.distillation.sentences.weight",
            "student.initialization=importance",
            "student.initialization=svd",
            "teacher.scratch.pretraining",
        ),
        "models that read",
    ),
}
BUILT_IN = False
SPLIT_BY: SplitBy = "text"
_ASKS_FOR = re.compile(r">>(\S+)<<")
# How sacrebleu splits text whose words are not set apart by spaces, and Korean, whose particles are not.
_SEGMENTATION = {"zh": "zh", "ja": "char", "th": "char", "ko": "char"}


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return Row(
        text=text_in(place, content, columns, "text"),
        label=text_in(place, content, columns, "label") if "label" in columns else "",
        lang="-".join(_in_pair(name_in(place, content, columns, role)) for role in ("source_lang", "target_lang")),
    )


def label_names(row: Row) -> Sequence[str]:
    return []


def texts(row: Row) -> Sequence[str]:
    return [row.text, row.label] if row.label else [row.text]


def _in_pair(language: str) -> str:
    """A language's name inside of a pair's, whose parts a hyphen divides: ``pt_BR`` for ``pt-BR``."""
    return language.replace("-", "_")


def _target_of(pair: str) -> str:
    """The language that is translated into."""
    return pair.partition("-")[2]


def _target_token(language: str) -> str:
    """The token before a source that asks for a target language."""
    return f">>{language}<<"


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    """``prompt`` is what the decoder starts with after its first token: the language code, where there is one."""

    def encode(rows: Sequence[Row]) -> list[Example]:
        examples: list[Example] = [{} for _ in rows]
        for pair in sorted({row.lang for row in rows}):
            numbers = [number for number, row in enumerate(rows) if row.lang == pair]
            coded, prefix = _asking_for(tokenizer, settings, pair)
            output = tokenizer(
                [prefix + rows[number].text for number in numbers],
                text_target=[rows[number].label for number in numbers],
                truncation=True,
                max_length=settings.max_length,
                return_attention_mask=False,
            )
            for number, ids, wanted in zip(numbers, output["input_ids"], output["labels"], strict=True):
                prompt = {"prompt": wanted[:1]} if coded else {}
                examples[number] = {"row": number, "input_ids": ids, "labels": wanted, **prompt}
        return examples

    return encode


def _asking_for(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, pair: str) -> tuple[bool, str]:
    """Ask for a pair of languages: by the tokenizer's codes (true), or by a text before the source."""
    codes = {_in_pair(language): code for language, code in settings.language_codes.items()}
    source, target = (codes.get(language, language) for language in pair.split("-"))
    if hasattr(tokenizer, "tgt_lang"):
        _set_codes(tokenizer, source, target)
        return True, ""
    if settings.prefix:
        return False, settings.prefix.format(source=source, target=target)
    token, vocabulary = _target_token(target), tokenizer.get_vocab()
    if token in vocabulary:
        return False, f"{token} "
    # A model that is asked by tokens would write any language; one without them writes the one that it knows.
    if known := sorted(found[1] for word in vocabulary if (found := _ASKS_FOR.fullmatch(word))):
        raise CompressError(
            f"languages '{pair}': the model writes {', '.join(known)}; ask for one of these, or say with "
            f"data.language_codes which of them '{target}' is"
        )
    return False, ""


def _set_codes(tokenizer: PreTrainedTokenizerBase, source: str, target: str) -> None:
    try:
        tokenizer.src_lang, tokenizer.tgt_lang = source, target
        empty = tokenizer("", text_target="")
    except KeyError:
        empty = None
    if empty is None or tokenizer.unk_token_id in (*empty["input_ids"], *empty["labels"]):
        raise CompressError(
            f"data.language_codes: the teacher's tokenizer knows no language '{source}' or '{target}'; "
            "say what it calls them, for example {en: eng_Latn}"
        )
    if empty["labels"][0] == tokenizer.eos_token_id:  # mBART of 2020
        raise CompressError(
            "teacher.model: its translations do not begin with their language; use M2M100, NLLB, mBART-50, Marian or T5"
        )


def model_inputs(config: Any, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """The decoder reads the translation, moved by one place."""
    shifted = labels.new_full(labels.shape, config.decoder_start_token_id)
    shifted[:, 1:] = labels[:, :-1]
    shifted.masked_fill_(shifted == NO_LABEL, config.pad_token_id)
    return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "decoder_input_ids": shifted}


def positions(outputs: Tensor, mask: Tensor) -> Tensor:
    return outputs


def decode(
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float] = (),
) -> list[str]:
    return [
        text.strip()
        for text in tokenizer.batch_decode([tokens.tolist() for tokens in outputs], skip_special_tokens=True)
    ]


def answered(row: Row, prediction: str, thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=prediction) if prediction else None


findings = usual.as_predicted
findings_among = usual.as_found
finding_as_json = finding_of_json = usual.as_it_is
index_forms = usual.no_index_forms


def metrics(predictions: Sequence[str], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    """BLEU (Papineni et al., 2002) and chrF (Popović, 2015), counted by sacrebleu (Post, 2018)."""
    from sacrebleu.metrics import BLEU, CHRF

    # Two rows of different languages are added up in one figure, whatever they are split by.
    segmentations = sorted({_SEGMENTATION.get(_target_of(row.lang), "13a") for row in rows})
    bleus = {name: BLEU(tokenize=name) for name in segmentations}
    chrf = CHRF()
    pairs = [
        (bleus[_SEGMENTATION.get(_target_of(row.lang), "13a")], prediction, row.label)
        for prediction, row in zip(predictions, rows, strict=True)
    ]
    signatures = ", ".join(_signature(bleu) for bleu in bleus.values())
    return {
        "BLEU": _summed(bleus[segmentations[0]], _bleu_bounds, pairs, signatures),
        "chrF": _summed(
            chrf, _chrf_bounds, [(chrf, prediction, label) for _, prediction, label in pairs], _signature(chrf)
        ),
    }


def _summed(scorer: Any, bounds: Bounds, pairs: Sequence[tuple[Any, str, str]], signature: str) -> Metric:
    """A score that is computed from the sums of what the scorers count in each row, as sacrebleu's bootstrap does."""
    counts = [counter._extract_corpus_statistics([found], [[wanted]])[0] for counter, found, wanted in pairs]

    def score(sums: np.ndarray) -> float:
        return float(scorer._compute_score_from_stats(sums.tolist()).score) / 100

    def value(sums: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(score, -1, sums)

    return Metric(np.array(counts, dtype=np.float64), value, bounds, signature=signature)


def _bleu_bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of both lengths, and for each order the n-grams that are right and all that were written."""
    lengths, right, written = counts[:2], *np.split(counts[2:], 2)
    return np.concatenate([lengths, 0 * right, written]), np.concatenate([lengths[[1, 1]], written, written])


def _chrf_bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the n-grams of each order that were written, that are wanted, and that are both."""
    written, wanted, right = counts.reshape(-1, 3).T
    wrong, perfect = np.stack([written, wanted, 0 * right], axis=1), np.stack([wanted, wanted, wanted], axis=1)
    return wrong.ravel(), perfect.ravel()


def _signature(scorer: Any) -> str:
    scorer.corpus_score(["a"], [["a"]])  # the number of references is known to it only then
    return str(scorer.get_signature())


probabilities = usual.no_probabilities
needs_thresholds = usual.without_thresholds
thresholds = usual.no_thresholds
agreed = usual.rows_agreed
label_counts = usual.no_label_counts


def languages_in(lang: str) -> Sequence[str]:
    return lang.split("-")


def read_before(settings: TextSettings, lang: str) -> list[str]:
    source, target = languages_in(lang)
    return [settings.prefix.format(source=source, target=target)] if settings.prefix else []


def written_before(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, row: Row) -> str:
    return _asking_for(tokenizer, settings, row.lang)[1]


def asking_tokens(languages: Iterable[str]) -> list[str]:
    return sorted({_target_token(_target_of(pair)) for pair in languages})


rows_learnt = usual.row_alone
told = usual.told_as_it_is


def question(row: Row) -> dict[str, str]:
    return {"TEXT": row.text, "LANGUAGES": row.lang}


served_text = usual.plain_text


def example_call(row: Row) -> str:
    return f'["…"], languages={json.dumps(row.lang, ensure_ascii=False)}'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    source, separator, target = languages.partition("-") if isinstance(languages, str) else ("", "", "")
    if not separator:
        raise CompressError("predict: languages must say from which language to which, for example 'de-en'")
    return {FIELDS["text"]: text, FIELDS["source_lang"]: source, FIELDS["target_lang"]: target}
