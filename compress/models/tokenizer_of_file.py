"""A tokenizer that is made of its file itself, where the class that transformers takes splits text otherwise.

Some classes build their parts anew and leave out the file's normaliser or bytes (DeBERTa-v3, mBART), or are another
model's (a BERT body with a SentencePiece file). The file is the truth: it is what the model was trained with.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.console import say
from compress.models.source import Source
from compress.models.tokenizer_files import TOKENIZER_JSON, compare_with_file, sentencepiece_file
from compress.models.tokenizers import token_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

_PROBES = (
    "The weather in Köln, 10\u00a0000 km away: 12,345.67 € (½ of it)!",
    "e\u0301te\u0301  nai\u0308ve — “quoted” … ™ ﬁne",
    "Погода в Москве: +5\u202f°C; №\u00a07",
    "今天，天气好！ＡＢＣ １２３。",
    "東京は、ｶﾀｶﾅと「かな」です。",
    "한국어 텍스트, 그리고 영어.",
    "न्यूज़ कॉन्फ़्रेंस में, १२३।",
    "مرحبا بالعالم، ١٢٣؟",
    "สวัสดีครับ กำลังทำ",
    "A line\nand\ttwo, don't! 😀 𐍈",
    " spaces  around ",
    "UPPER, Lower; İstanbul, Straße",
)
"""Ordinary text of many scripts, with the signs that normalisers are for."""
_NAMES = {
    "pad": ("<pad>", "[PAD]"),
    "unk": ("<unk>", "[UNK]"),
    "cls": ("<s>", "[CLS]"),
    "sep": ("</s>", "[SEP]"),
    "mask": ("<mask>", "[MASK]"),
    "bos": ("<s>", "[CLS]"),
    "eos": ("</s>", "[SEP]"),
}
"""Of special tokens, by what they are for, where nothing but the tokenizer's file tells."""
_MOST = 0.99  # of the pieces
_FAIRSEQ = "sentencepiece.bpe.model"  # whose numbers are one higher in the model


def as_its_file_says(source: Source, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer of a model from elsewhere: its class's or, where that splits text otherwise than the file that it
    was made of, one that is made of the file itself, which is said.

    :param tokenizer: As its class makes it.
    """
    from transformers import TokenizersBackend

    if type(tokenizer) is TokenizersBackend and (source.folder / TOKENIZER_JSON).is_file():
        return tokenizer  # which reads that file as it is
    differing = _differing(tokenizer, source.folder)
    if not differing:
        return tokenizer
    for make in (_of_json, _of_pieces, _of_fairseq):
        made = make(source.folder, tokenizer)
        if made and (_differing(made, source.folder) or 0) < differing:
            _tell(str(source), source.folder, type(tokenizer).__name__)
            return made
    return tokenizer


@functools.cache
def _tell(name: str, folder: Path, kind: str) -> None:
    """Said once, however often it is loaded."""
    pieces = sentencepiece_file(folder)
    file = pieces.name if pieces and not (folder / TOKENIZER_JSON).is_file() else TOKENIZER_JSON
    say(f"{name}: its tokenizer is made of its {file} itself: the class of transformers ({kind}) splits text otherwise")


def _differing(tokenizer: PreTrainedTokenizerBase, folder: Path) -> int | None:
    """Of the texts here those that are split otherwise than a file says; none where there is no file."""
    try:
        ids = token_ids(tokenizer, _PROBES)
    except Exception:  # the tokenizers library's, of one that cannot split text at all
        return len(_PROBES) + 1
    found = compare_with_file(tokenizer, folder, {"": list(zip(_PROBES, ids, strict=True))})
    return None if found is None else found.differing


def _of_json(folder: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast | None:
    from tokenizers import Tokenizer

    path = folder / TOKENIZER_JSON
    return _wrapped(Tokenizer.from_file(str(path)), tokenizer) if path.is_file() else None


def names_class(folder: Path) -> bool:
    """Whether a folder tells its tokenizer's class."""
    paths = (folder / "tokenizer_config.json", folder / "config.json")
    return any(_names_class(path) for path in paths if path.is_file())


def _names_class(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # of what cannot be read, whoever opens it says so
        return False
    return isinstance(content, dict) and bool(content.get("tokenizer_class"))


def _of_fairseq(folder: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase | None:
    """Where the class reads no SentencePiece file, and nothing names another: XLM-R's, which other bodies have too
    (multilingual MiniLM)."""
    from transformers import XLMRobertaTokenizer

    if not (folder / _FAIRSEQ).is_file() or names_class(folder) or _knows_pieces(tokenizer, folder):
        return None
    made: PreTrainedTokenizerBase = XLMRobertaTokenizer.from_pretrained(folder)
    return made


def _of_pieces(folder: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast | None:
    """With the class's numbers and special tokens, and what stands around a text; all else as the file says."""
    from tokenizers import Tokenizer

    path = sentencepiece_file(folder)
    if path is None or not tokenizer.is_fast or (folder / TOKENIZER_JSON).is_file():
        return None
    file, content = _parsed(path), json.loads(tokenizer.backend_tokenizer.to_str())
    model, trained = content["model"], file.trainer_spec
    prepares = getattr(tokenizer, "split_by_punct", False) or not getattr(tokenizer, "keep_accents", True)
    same_kind = (model["type"] == "Unigram") == (trained.model_type == trained.UNIGRAM)
    if prepares or not same_kind or trained.treat_whitespace_as_suffix or not _knows_pieces(tokenizer, folder):
        return None  # text is changed in ways of its own, or its vocabulary is another one
    model["byte_fallback"] = trained.byte_fallback
    unknown = next(entry.piece for entry in file.pieces if entry.type == entry.UNKNOWN)
    numbers = tokenizer.get_vocab()
    if unknown not in numbers:
        return None
    if model["type"] == "Unigram":
        model["unk_id"] = numbers[unknown]
    backend = Tokenizer.from_str(json.dumps(content))
    backend.normalizer = _normalizer(file.normalizer_spec, lowercase=getattr(tokenizer, "do_lower_case", False))
    backend.pre_tokenizer, backend.decoder = _spaces(file), _decoder(file)
    if frame := _frame(tokenizer):
        backend.post_processor = frame
    return _wrapped(backend, tokenizer, unknown)


def _frame(tokenizer: PreTrainedTokenizerBase) -> Any:
    """What stands around a text, of a class that has forgotten it (RemBERT): as the library's converter knows it."""
    from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS

    if tokenizer.num_special_tokens_to_add() or not hasattr(tokenizer, "vocab_file"):
        return None
    converter = SLOW_TO_FAST_CONVERTERS.get(type(tokenizer).__name__)
    frame = converter(tokenizer).post_processor() if converter else None
    tokens = json.loads(frame.__getstate__())["special_tokens"] if frame else {}
    return frame if tokens.keys() <= {tokenizer.cls_token, tokenizer.sep_token} else None


def _normalizer(spec: Any, *, lowercase: bool) -> Any:
    """As SentencePiece does it: first its table of characters, then what is left of spaces."""
    from tokenizers import Regex, normalizers

    steps: list[Any] = [normalizers.Lowercase()] if lowercase else []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)


def _spaces(file: Any) -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Metaspace(prepend_scheme=_prefix(file), split=file.trainer_spec.split_by_whitespace)


def _decoder(file: Any) -> Any:
    from tokenizers import decoders

    spaces = decoders.Metaspace(prepend_scheme=_prefix(file))
    bytes_too = [decoders.ByteFallback(), spaces]
    return decoders.Sequence(bytes_too) if file.trainer_spec.byte_fallback else spaces


def _prefix(file: Any) -> str:
    return "always" if file.normalizer_spec.add_dummy_prefix else "never"


def _knows_pieces(tokenizer: PreTrainedTokenizerBase, folder: Path) -> bool:
    """Whether nearly all pieces of a file are tokens: some classes have other special ones."""
    path = sentencepiece_file(folder)
    if path is None:
        return False
    known = tokenizer.get_vocab().keys()
    pieces = [entry.piece for entry in _parsed(path).pieces]
    return sum(piece in known for piece in pieces) > _MOST * len(pieces)


def _parsed(path: Path) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    formats: Any = sentencepiece_model_pb2
    return formats.ModelProto.FromString(path.read_bytes())


def _wrapped(
    backend: Tokenizer, tokenizer: PreTrainedTokenizerBase, unknown: str | None = None
) -> PreTrainedTokenizerFast | None:
    """With what a class says besides; nothing where that class does more, as it does for translation.

    :param unknown: The token for what no other stands for; none: the one that the class names.
    """
    from transformers import PreTrainedTokenizerFast

    if hasattr(tokenizer, "src_lang"):
        return None
    known, added = backend.get_vocab(), {str(token) for token in backend.get_added_tokens_decoder().values()}
    special = {}
    for role, names in _NAMES.items():
        named = unknown if unknown and role == "unk" else getattr(tokenizer, f"{role}_token")
        found = [named] if named in known else [name for name in names if name in known and name in added]
        if named and found:
            special[f"{role}_token"] = found[0]
    if "pad_token" not in special:
        return None
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        extra_special_tokens=[token for token in tokenizer.extra_special_tokens if token in known],
        **special,
    )
