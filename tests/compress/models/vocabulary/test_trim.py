"""Trimming, for the kinds of tokenizers and models that multilingual texts are read and written with."""

import copy
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small_vocabularies
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    ByT5Tokenizer,
    MarianConfig,
    MarianMTModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from compress.errors import CompressError
from compress.models.load import save_tokenizer
from compress.models.vocabulary.anatomy import anatomy_of, count_tokens
from compress.models.vocabulary.summary import TrimmingSummary
from compress.models.vocabulary.trim import trim_vocabulary
from compress.models.vocabulary.weights import drop_rows, fixed_tokens
from compress.recipe.teacher import Vocabulary

WRITERS = ("mT5", "mBART", "NLLB", "M2M100", "Marian")


@pytest.fixture(scope="module")
def texts() -> Mapping[str, Sequence[str]]:
    return small_vocabularies.texts()


def pairs(texts: Mapping[str, Sequence[str]], *languages: str, rows: slice = slice(None)) -> Iterator[tuple[str, str]]:
    return ((language, text) for language in languages for text in texts[language][rows])


@dataclass
class Trimmed:
    """A model and its tokenizer before and after; the model is loaded from a folder again."""

    family: str
    old: Any
    old_tokenizer: Any
    new: Any
    tokenizer: Any
    summary: TrimmingSummary


@pytest.fixture(scope="module", params=list(small_vocabularies.FAMILIES))
def trimmed(request, texts, tmp_path_factory) -> Trimmed:
    folder = tmp_path_factory.mktemp("trimmed")
    old, old_tokenizer = small_vocabularies.build(request.param, folder / "old")
    model = copy.deepcopy(old)
    kept = partial(pairs, texts, "de", "ru")
    tokenizer, summary = trim_vocabulary(model, old_tokenizer, kept, kept, Vocabulary(trim=True), folder / "tokenizer")
    model.save_pretrained(folder / "new")
    save_tokenizer(tokenizer, folder / "new")
    tokenizer = AutoTokenizer.from_pretrained(folder / "new")
    new = type(model).from_pretrained(folder / "new").eval()
    return Trimmed(request.param, old, old_tokenizer, new, tokenizer, summary)


def asked(tokenizer: Any, texts: list[str], target: list[str] | None) -> dict[str, Any]:
    return dict(tokenizer(texts, text_target=target, padding=True, return_tensors="pt"))


def numbers_of(tokenizer: Any) -> dict[str, int]:
    return {**tokenizer.get_vocab(), **getattr(tokenizer, "lang_token_to_id", {})}


def test_texts_whose_tokens_are_all_kept_are_split_and_judged_as_before_to_the_bit(trimmed, texts):
    old_numbers, numbers = numbers_of(trimmed.old_tokenizer), numbers_of(trimmed.tokenizer)
    assert trimmed.summary.tokens_before == len(old_numbers) + small_vocabularies.PADDING_ROWS
    assert trimmed.summary.tokens_after == len(numbers) < len(old_numbers)
    assert trimmed.new.get_input_embeddings().weight.shape[0] == trimmed.new.config.vocab_size == len(numbers)
    target = list(texts["ru"]) if trimmed.family in WRITERS else None
    old, new = (asked(tokenizer, list(texts["de"]), target) for tokenizer in (trimmed.old_tokenizer, trimmed.tokenizer))
    for name in ("input_ids", "labels") if target else ("input_ids",):
        for before, after in zip(old[name].tolist(), new[name].tolist(), strict=True):
            found = trimmed.tokenizer.convert_ids_to_tokens(after)
            assert found == trimmed.old_tokenizer.convert_ids_to_tokens(before)
    with torch.no_grad():
        before, after = trimmed.old(**old).logits, trimmed.new(**new).logits
    rows = [old_numbers[token] for token, _ in sorted(numbers.items(), key=lambda entry: entry[1])]
    assert torch.equal(before[..., rows], after)


def test_what_the_configuration_names_are_the_same_tokens(trimmed):
    settings = [name for name in ("config", "generation_config") if hasattr(trimmed.old, name)]
    for old, new in ((getattr(trimmed.old, name), getattr(trimmed.new, name)) for name in settings):
        for name in ("pad", "eos", "bos", "decoder_start", "forced_bos"):
            before, after = (getattr(config, f"{name}_token_id", None) for config in (old, new))
            if before is not None and before < len(numbers_of(trimmed.old_tokenizer)):
                kept = trimmed.tokenizer.convert_ids_to_tokens(after)
                assert kept == trimmed.old_tokenizer.convert_ids_to_tokens(before), name
    for role in ("pad", "unk", "cls", "sep", "mask", "eos"):
        token = getattr(trimmed.old_tokenizer, f"{role}_token", None)
        assert getattr(trimmed.tokenizer, f"{role}_token", None) == token
    if trimmed.family in WRITERS:
        assert trimmed.new.generation_config.bad_words_ids == [[trimmed.tokenizer.pad_token_id]]


def test_languages_are_asked_for_as_before(trimmed, texts):
    if trimmed.family not in WRITERS:
        pytest.skip("it does not write")
    prefix = {"Marian": ">>ru<< ", "mT5": "<extra_id_7> "}.get(trimmed.family, "")
    read, written = [], []
    for model, tokenizer in ((trimmed.old, trimmed.old_tokenizer), (trimmed.new, trimmed.tokenizer)):
        inputs = tokenizer(prefix + texts["de"][0], return_tensors="pt")
        read.append(tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]))
        output = model.generate(**inputs, max_new_tokens=2, min_new_tokens=2)
        written.append(tokenizer.convert_ids_to_tokens(output[0])[:2])
    assert read[0] == read[1]
    assert not prefix or read[0][0] == prefix.strip()
    if not prefix:
        assert written[0] == written[1]  # the start, and the language


def test_words_whose_tokens_are_gone_are_spelled_by_their_characters(trimmed, texts):
    known, characters = numbers_of(trimmed.tokenizer), {*"".join(texts["de"])}
    for text in (text for _, text in pairs(texts, "fr", "es", "en", "tr") if {*text} <= characters):
        old = trimmed.old_tokenizer(text, add_special_tokens=False)["input_ids"]
        if any(token not in known for token in trimmed.old_tokenizer.convert_ids_to_tokens(old)):
            break
    new = trimmed.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(new) > len(old)
    assert new.count(trimmed.tokenizer.unk_token_id) == old.count(trimmed.old_tokenizer.unk_token_id)
    assert trimmed.tokenizer.decode(new) == trimmed.old_tokenizer.decode(old)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Any, Any]:
    return small_vocabularies.build("XLM-R", tmp_path_factory.mktemp("whole"))


@pytest.fixture
def trim(whole, texts, tmp_path: Path):
    """Trim a small model by some settings; what is kept by the text of German and Thai, or by other text."""

    def trim(used=None, held_out=None, other=(), **settings: Any) -> tuple[Any, TrimmingSummary]:
        used = used or list(pairs(texts, "de", "th"))
        settings = Vocabulary(trim=True, **settings)
        model = copy.deepcopy(whole[0])
        held_out = held_out or ()
        return trim_vocabulary(
            model, whole[1], lambda: used, lambda: held_out, settings, tmp_path / "new", lambda: other
        )

    return trim


def test_what_is_lost_is_what_counting_finds(whole, trim, texts):
    held_out = list(pairs(texts, "ar", "de", rows=slice(0, 40)))
    tokenizer, summary = trim(held_out=held_out, coverage=0.9)
    known = {*tokenizer.get_vocab()}
    for language, told in (("de", summary.used["de"]), ("ar", summary.held_out["ar"])):
        rows = texts[language] if told is summary.used["de"] else texts[language][:40]
        split = [whole[1].convert_ids_to_tokens(whole[1](text, add_special_tokens=False)["input_ids"]) for text in rows]
        gone = [[token for token in tokens if token not in known] for tokens in split]
        assert (told.texts, told.tokens) == (len(rows), sum(map(len, split)))
        assert told.lost_share == pytest.approx(sum(map(len, gone)) / told.tokens, abs=1e-6)
        assert told.changed_share == pytest.approx(sum(map(bool, gone)) / told.texts, abs=1e-6)
    assert 0 < summary.used["de"].lost_share < 0.1 < summary.held_out["ar"].lost_share


def test_the_loss_of_new_text_is_told_before_it_is_seen(whole, trim, texts):
    """On average over the texts, each of them new to all others."""
    _, summary = trim(
        used=list(pairs(texts, "de", rows=slice(0, 100))), held_out=list(pairs(texts, "de", rows=slice(100, 150)))
    )
    assert summary.used["de"].expected_share == pytest.approx(summary.held_out["de"].lost_share, abs=0.02)


def test_a_number_of_tokens_is_shared_so_that_languages_keep_the_same_share_of_their_text(whole, trim, texts):
    tokenizer, summary = trim(tokens=200)
    assert 180 < summary.tokens_after == len(tokenizer) <= 200
    shares = [text.lost_share for text in summary.used.values()]
    assert max(shares) - min(shares) < 0.1
    assert trim(tokens=150)[1].used["de"].lost_share > summary.used["de"].lost_share


def test_where_little_text_uses_few_tokens_usual_ones_of_its_characters_fill_it_up(whole, trim, texts):
    used, new = list(pairs(texts, "de", rows=slice(0, 10))), list(pairs(texts, "de", rows=slice(10, 150)))
    few, filled = (trim(used, new, tokens=150, fill=fill) for fill in (False, True))
    assert few[1].tokens_after < filled[1].tokens_after == 150
    assert set(few[0].get_vocab()) < set(filled[0].get_vocab())
    assert filled[1].held_out["de"].lost_share < 0.9 * few[1].held_out["de"].lost_share
    characters = {character for token in few[0].get_vocab() for character in token}
    assert all(characters.issuperset(token) for token in filled[0].get_vocab())
    with pytest.raises(ValueError, match="fill: it fills up to `tokens`, and there is no such number; set tokens too"):
        Vocabulary(trim=True, fill=True)


def test_other_text_keeps_tokens_too_and_less_of_new_text_is_lost(trim, texts):
    used, other, new = (list(pairs(texts, "de", rows=slice(*rows))) for rows in ((0, 10), (10, 100), (100, 150)))
    alone, both = trim(used, new)[1], trim(used, new, other)[1]
    assert both.tokens_after > alone.tokens_after
    assert both.held_out["de"].lost_share < 0.8 * alone.held_out["de"].lost_share
    assert both.used["de"].texts == 100


def test_much_other_text_does_not_displace_what_the_own_text_uses(trim, texts):
    own, other = list(pairs(texts, "de", rows=slice(0, 50))), [("de", text) for text in texts["th"]] * 20
    alone, both = (trim(own, tokens=130, other=more)[1] for more in ((), other))
    drowned = trim([*own, *other], tokens=130, held_out=own)[1].held_out["de"].lost_share
    held = trim(own, tokens=130, held_out=own, other=other)[1].held_out["de"].lost_share
    assert alone.used["de"].lost_share <= held < drowned
    assert both.tokens_after <= 130


def test_named_tokens_are_kept_and_must_exist(whole, trim):
    name = max(whole[1].get_vocab(), key=len)
    assert name not in trim()[0].get_vocab()
    assert name in trim(keep=[name])[0].get_vocab()
    with pytest.raises(
        CompressError, match="keep: 'no such token' is no token of this model; write it as its tokenizer"
    ):
        trim(keep=["no such token"])


def test_more_loss_than_allowed_is_refused_by_language_and_figure(whole, trim, texts):
    with pytest.raises(
        CompressError, match=r"max_loss: th would lose \d+\.\d\d % of the tokens of new text.* where 0 %"
    ):
        trim(used=[*pairs(texts, "de"), *pairs(texts, "th", rows=slice(0, 10))], max_loss=0)
    held_out = list(pairs(texts, "de", "ar"))
    with pytest.raises(
        CompressError, match=r"max_loss: de would lose \d+\.\d\d % of the tokens of held-out text where"
    ):
        trim(used=list(pairs(texts, "de", rows=slice(0, 10))), held_out=held_out, max_loss=0.5)
    trim(used=list(pairs(texts, "de")), held_out=held_out, max_loss=0.5)  # Arabic is left out on purpose


@pytest.mark.parametrize(
    ("used", "settings", "message"),
    [
        ([("de", "\U0001f600 \U0001f600")], {}, "the tokenizer does not know 50.0 % of the tokens in de"),
        (None, {"coverage": 0}, "would drop all tokens but special ones"),
        (None, {"minimum_count": 10**6}, "would drop all tokens but special ones"),
        (None, {"tokens": 3}, r"tokens: 3 are fewer than the \d+ that are always kept"),
    ],
)
def test_a_trim_that_would_leave_nothing_is_refused(whole, trim, used, settings: dict, message: str):
    with pytest.raises(CompressError, match=message):
        trim(used=used, **settings)


def test_text_is_read_in_batches_and_never_held(whole, trim, texts):
    """A million characters or a thousand texts at a time."""
    alive: weakref.WeakSet = weakref.WeakSet()

    class Text(str):
        __slots__ = ("__weakref__",)

    def read() -> Iterator[tuple[str, str]]:
        for number in range(3000):
            text = Text(texts["de"][number % 100])
            alive.add(text)
            assert len(alive) < 2100
            yield "de", text

    counts = count_tokens(anatomy_of(whole[1]), read())
    assert counts["de"].texts == 3000
    assert counts["de"].tokens.sum() == 30 * sum(
        len(whole[1](text, add_special_tokens=False)["input_ids"]) for text in texts["de"][:100]
    )


def test_tokenizers_that_cannot_be_trimmed_are_refused(tmp_path: Path):
    with pytest.raises(CompressError, match=r"ByT5Tokenizer cannot be trimmed: it has no tokenizer\.json"):
        anatomy_of(ByT5Tokenizer())


def test_positions_that_are_counted_from_the_paddings_number_stay_what_they_are():
    """The padding's number does too: what would come before it is kept."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = XLMRobertaModel(XLMRobertaConfig(vocab_size=100, pad_token_id=7, **sizes))
    assert fixed_tokens(model) == {*range(8)}


def test_a_model_whose_weights_cannot_be_told_by_their_axes_is_refused():
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with pytest.raises(CompressError, match=r"bert: its weights '.*' have an axis as long as its vocabulary \(16\)"):
        drop_rows(BertModel(BertConfig(vocab_size=16, hidden_size=16, **sizes)), [0, 1])
    several = MarianConfig(
        vocab_size=40, decoder_vocab_size=30, share_encoder_decoder_embeddings=False, tie_word_embeddings=False,
        pad_token_id=0, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    with pytest.raises(CompressError, match="marian: not all its embeddings and its head are of the same tokens"):
        drop_rows(MarianMTModel(several), [0, 1])
