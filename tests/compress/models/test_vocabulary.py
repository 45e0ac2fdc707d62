"""Trimming, for the three kinds of tokenizers that multilingual models have."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from compress.data.builtin import cldr
from compress.models.vocabulary import trim_vocabulary
from compress.recipe.teacher import Vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train(kind: str, texts: list[str]) -> PreTrainedTokenizerFast:
    if kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=SPECIAL)
    elif kind == "BPE":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=SPECIAL, unk_token="[UNK]")
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    )
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, model_input_names=["input_ids", "attention_mask"], **roles
    )


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    rows = cldr.generate(0)["train"]
    languages = sorted({row["lang"] for row in rows})
    return {language: [row["text"] for row in rows if row["lang"] == language][:150] for language in languages}


@pytest.fixture(scope="module", params=["WordPiece", "BPE", "Unigram"])
def full(request, texts):
    tokenizer = train(request.param, [text for rows in texts.values() for text in rows])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return AutoModelForSequenceClassification.from_config(config).eval(), tokenizer


def test_texts_of_the_kept_languages_are_split_and_judged_as_before(full, texts):
    model, tokenizer = full
    wanted = {language: texts[language] for language in ("de", "ru", "ja")}
    smaller, trimmed, report = trim_vocabulary(model, tokenizer, wanted, wanted, Vocabulary(trim=True))
    assert len(trimmed) < len(tokenizer)
    assert report.tokens_after == len(trimmed) == smaller.get_input_embeddings().weight.shape[0]
    assert smaller.config.vocab_size == len(trimmed)
    assert report.saved_megabytes == pytest.approx((len(tokenizer) - len(trimmed)) * 16 * 4 / 1e6, abs=0.01)
    assert set(report.lost_share.values()) == {0.0}
    for rows in wanted.values():
        for text in rows:
            assert trimmed.tokenize(text) == tokenizer.tokenize(text)
        old, new = (t(rows, padding=True, return_tensors="pt") for t in (tokenizer, trimmed))
        with torch.no_grad():
            assert torch.allclose(model(**old).logits, smaller(**new).logits, atol=1e-6)


def test_the_trimmed_tokenizer_is_reloaded_equal(full, texts, tmp_path):
    model, tokenizer = full
    _, trimmed, _ = trim_vocabulary(model, tokenizer, {"de": texts["de"]}, {}, Vocabulary(trim=True))
    trimmed.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in texts["de"]:
        assert again(text)["input_ids"] == trimmed(text)["input_ids"]
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert again.decode(getattr(again, f"{role}_token_id")) == getattr(tokenizer, f"{role}_token")


def test_rare_tokens_are_dropped_and_what_that_costs_is_reported(full, texts):
    model, tokenizer = full
    wanted = {language: texts[language] for language in ("de", "th")}
    everything = trim_vocabulary(model, tokenizer, wanted, wanted, Vocabulary(trim=True))[2]
    frequent = trim_vocabulary(model, tokenizer, wanted, wanted, Vocabulary(trim=True, coverage=0.8))[2]
    assert frequent.tokens_after < everything.tokens_after
    for language in wanted:
        assert 0 < frequent.lost_share[language] <= 0.2


def test_what_is_lost_is_counted_on_text_that_nothing_was_chosen_by(full, texts):
    model, tokenizer = full
    _, trimmed, report = trim_vocabulary(
        model, tokenizer, {"de": texts["de"][:20]}, {"de": texts["de"][20:], "ja": texts["ja"]}, Vocabulary(trim=True)
    )
    known = trimmed.get_vocab()
    for language, rows in (("de", texts["de"][20:]), ("ja", texts["ja"])):
        tokens = [token for text in rows for token in tokenizer.tokenize(text)]
        share = sum(token not in known for token in tokens) / len(tokens)
        assert report.lost_share[language] == pytest.approx(share, abs=1e-6)
    assert report.lost_share["ja"] > report.lost_share["de"] > 0
