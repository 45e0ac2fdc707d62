"""Translation: asking for a language, what the decoder reads, and scores against sacrebleu."""

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU, CHRF
from transformers import M2M100Config, MBartTokenizer, NllbTokenizer

from compress.errors import CompressError
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

TASK = task_named("translation")
ROWS = [
    Row("Plays music, and films.", "Spielt Musik und Filme ab.", "en-de"),
    Row("A small editor", "Un petit éditeur (rapide)", "en-fr"),
]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [text for row in ROWS for text in TASK.texts(row)]
    return train_tokenizer(texts * 3, NewTokenizer(vocabulary_size=120, longest_piece=8), 64, [">>de<<", ">>fr<<"])


@pytest.mark.parametrize("model", ["byte-pair", "unigram"])
def test_text_is_read_back_from_its_tokens(model):
    texts = [text for row in ROWS for text in TASK.texts(row)]
    settings = NewTokenizer(model=model, vocabulary_size=100, longest_piece=8)
    tokenizer = train_tokenizer(texts, settings, 64, [">>de<<"])
    again = train_tokenizer(texts, settings, 64, [">>de<<"])
    assert again.get_vocab() == tokenizer.get_vocab()
    outputs = [np.array(tokenizer(text)["input_ids"]) for text in texts]
    assert TASK.decode(outputs, [], [], [], tokenizer) == texts
    assert all(ids[-1] == tokenizer.eos_token_id for ids in outputs)


def test_a_token_before_the_source_asks_for_the_language(tokenizer):
    examples = TASK.encoder(tokenizer, Data(), [])(ROWS)
    assert [tokenizer.convert_ids_to_tokens(example["input_ids"])[0] for example in examples] == [">>de<<", ">>fr<<"]
    assert TASK.decode([np.array(example["labels"]) for example in examples], examples, ROWS, [], tokenizer) == [
        row.label for row in ROWS
    ]
    assert all("prompt" not in example for example in examples)


def test_a_language_that_a_model_does_not_write_is_refused(tokenizer):
    with pytest.raises(CompressError, match=r"languages 'en-ja': the model writes de, fr; ask for one of these"):
        TASK.encoder(tokenizer, Data(), [])([*ROWS, Row("A text", "", "en-ja")])


def test_a_model_of_one_direction_is_asked_for_it_without_a_token():
    tokenizer = train_tokenizer(["A text"] * 3, NewTokenizer(vocabulary_size=120, longest_piece=8), 64, [])
    (example,) = TASK.encoder(tokenizer, Data(), [])([Row("A text", "", "en-ja")])
    assert example["input_ids"] == tokenizer("A text")["input_ids"]


def test_a_prefix_asks_for_the_language(tokenizer):
    data = Data(prefix="{source} to {target}: ", language_codes={"en": "English", "de": "German"})
    (example,) = TASK.encoder(tokenizer, data, [])(ROWS[:1])
    wanted = tokenizer("English to German: Plays music, and films.")["input_ids"]
    assert example["input_ids"] == wanted


@pytest.fixture(scope="module")
def nllb():
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁": 4, "a": 5, "b": 6}
    return NllbTokenizer(vocab=vocabulary, merges=[])


def test_language_codes_stand_before_the_text_and_begin_the_translation(nllb):
    data = Data(language_codes={"en": "eng_Latn", "de": "deu_Latn"})
    (example,) = TASK.encoder(nllb, data, [])([Row("a", "b", "en-de")])
    assert nllb.convert_ids_to_tokens(example["input_ids"])[0] == "eng_Latn"
    assert nllb.convert_ids_to_tokens(example["labels"])[0] == "deu_Latn"
    assert example["prompt"] == example["labels"][:1]


def test_an_unknown_language_code_is_named(nllb):
    with pytest.raises(CompressError, match=r"data.language_codes: the teacher's tokenizer knows no language 'en' or"):
        TASK.encoder(nllb, Data(), [])([Row("a", "b", "en-de")])


def test_a_region_does_not_divide_a_pair(nllb):
    content = {"source": "a", "target": "b", "source_lang": "pt-BR", "target_lang": "ja"}
    row = TASK.read_row("rows:1", content, TASK.FIELDS)
    assert row.lang == "pt_BR-ja"
    assert "tok:char" in TASK.metrics(["b"], [row], [])["BLEU"].signature
    data = Data(language_codes={"pt-BR": "por_Latn", "ja": "jpn_Jpan"})
    (example,) = TASK.encoder(nllb, data, [])([row])
    assert nllb.convert_ids_to_tokens(example["labels"])[0] == "jpn_Jpan"


def test_translations_that_end_with_their_language_are_refused():
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁": 4, "a": 5, "b": 6}
    tokenizer = MBartTokenizer(vocab=[(token, 0.0) for token in vocabulary])
    data = Data(language_codes={"en": "en_XX", "de": "de_DE"})
    with pytest.raises(CompressError, match=r"teacher.model: its translations do not begin with their language"):
        TASK.encoder(tokenizer, data, [])([Row("a", "b", "en-de")])


def test_the_decoder_reads_the_translation_moved_by_one():
    config = M2M100Config(decoder_start_token_id=2, pad_token_id=1)
    labels = torch.tensor([[7, 8, 2], [9, 2, -100]])
    inputs = {"input_ids": labels, "attention_mask": labels}
    given = TASK.model_inputs(config, inputs, labels)
    assert given["decoder_input_ids"].tolist() == [[2, 7, 8], [2, 9, 2]]


def test_scores_and_intervals_are_sacrebleus():
    predictions = ["Spielt Musik und Filme ab.", "Un petit éditeur rapide et simple"]
    rows = [ROWS[0], Row("", "Un petit éditeur (rapide) et très simple", "en-fr")]
    metrics = TASK.metrics(predictions, rows, [])
    wanted = [row.label for row in rows]
    for name, scorer in (("BLEU", BLEU()), ("chrF", CHRF())):
        expected = scorer.corpus_score(predictions, [wanted]).score / 100
        assert metrics[name].figure(np.arange(2)).value == pytest.approx(expected)
        assert metrics[name].signature == str(scorer.get_signature())


def test_languages_without_spaces_are_split_by_character():
    rows = [Row("Port of Sydney", "悉尼的港口", "en-zh"), Row("Port", "港", "en-ja")]
    metrics = TASK.metrics(["悉尼港口", "港"], rows, [])
    expected = BLEU(tokenize="zh").corpus_score(["悉尼港口"], [["悉尼的港口"]]).score / 100
    assert metrics["BLEU"].figure(np.array([0])).value == pytest.approx(expected)
    assert "tok:char" in metrics["BLEU"].signature
    assert "tok:zh" in metrics["BLEU"].signature


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"source": "a", "target": "b"}, r"rows:1: field 'source_lang' is missing \(data.fields.source_lang\)"),
        (
            {"en": "a", "source_lang": "en", "target_lang": "de"},
            r"field 'source' is missing \(data.fields.text\); a row must have source, target, source_lang, tar",
        ),
        (
            {"source": "a", "target": ["b"], "source_lang": "en", "target_lang": "de"},
            "rows:1: field 'target' must be text, got list",
        ),
    ],
)
def test_wrong_fields_are_named(content, message):
    with pytest.raises(CompressError, match=message):
        TASK.read_row("rows:1", content, TASK.FIELDS)
