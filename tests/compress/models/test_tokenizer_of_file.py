"""Tokenizers that are made of their file itself, where the class of transformers splits text otherwise."""

import json
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from compress.models.load import load_tokenizer_of, save_tokenizer
from compress.models.source import Source
from compress.models.tokenizer_of_file import names_class

TEXTS = [
    "Grüße aus München, 10 km vor Köln",
    "привет мир, как дела",
    "今天,天气好",
    "it isn't fine",
    "12,345.67 € for the weather",
]
ODD = ["  １２３，ＡＢＣ  ", "10\u00a0km", "e\u0301te\u0301", "ﬁne…", "새로운 글", "今天，天气好。😀", "a\nb\t c", ""]
_DEBERTA = {
    "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3,
    "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]",
    "user_defined_symbols": ["[MASK]"],
}  # fmt: skip
_REMBERT = {
    "pad_id": 0, "bos_id": -1, "eos_id": -1, "unk_id": 1, "pad_piece": "[PAD]", "unk_piece": "[UNK]",
    "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
}  # fmt: skip
_T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


def folder_with(folder: Path, name: str, model_type: str, told: dict[str, str], **options: object) -> Source:
    """A folder with a SentencePiece file alone."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 30),
        model_prefix=str(folder / "pieces"),
        vocab_size=400,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
        num_threads=1,
        **options,
    )
    (folder / "pieces.model").rename(folder / name)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return Source("my-model", folder)


def pieces_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])


def pieces_in(source: Source, name: str, text: str) -> list[str]:
    return sentencepiece.SentencePieceProcessor(model_file=str(source.folder / name)).encode(text, out_type=str)


def test_multilingual_deberta_as_published_reads_what_its_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Its class has no table of characters and no bytes: each wide comma and each rare character is unknown to it."""
    source = folder_with(tmp_path, "spm.model", "deberta-v2", {}, byte_fallback=True, **_DEBERTA)
    assert pieces_of(AutoTokenizer.from_pretrained(tmp_path), "새").count("[UNK]") == 1
    tokenizer = load_tokenizer_of(source)
    for text in [*TEXTS, *ODD]:
        assert pieces_of(tokenizer, text) == pieces_in(source, "spm.model", text)
    said = " ".join(capsys.readouterr().err.split())
    assert "my-model: its tokenizer is made of its spm.model itself: the class of transformers (DebertaV2Tok" in said
    whole = tokenizer("글", "b")
    assert tokenizer.convert_ids_to_tokens(whole["input_ids"])[:2] == ["[CLS]", "▁"]
    assert "<0xEA>" in tokenizer.convert_ids_to_tokens(whole["input_ids"])
    assert whole["token_type_ids"][-2:] == [1, 1]
    assert tokenizer.decode(tokenizer("새로운 글", add_special_tokens=False)["input_ids"]) == "새로운 글"
    assert (tokenizer.pad_token, tokenizer.unk_token, tokenizer.mask_token) == ("[PAD]", "[UNK]", "[MASK]")


def test_what_is_made_of_a_file_is_the_same_once_it_was_saved(tmp_path: Path):
    (tmp_path / "model").mkdir()
    source = folder_with(tmp_path / "model", "spm.model", "deberta-v2", {}, byte_fallback=True, **_DEBERTA)
    tokenizer = load_tokenizer_of(source)
    save_tokenizer(tokenizer, tmp_path / "saved")
    (tmp_path / "saved/config.json").write_text('{"model_type": "deberta-v2"}')
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert [again(text) for text in [*TEXTS, *ODD]] == [tokenizer(text) for text in [*TEXTS, *ODD]]
    assert again.model_input_names == tokenizer.model_input_names


@pytest.mark.parametrize(
    ("name", "model_type", "told", "options"),
    [
        ("spiece.model", "t5", {"tokenizer_class": "T5Tokenizer"}, {**_T5, "byte_fallback": True}),
        ("sentencepiece.model", "rembert", {"tokenizer_class": "RemBertTokenizer"}, _REMBERT),
        ("sentencepiece.bpe.model", "xlm-roberta", {"tokenizer_class": "XLMRobertaTokenizer"}, {}),
        ("sentencepiece.bpe.model", "camembert", {"tokenizer_class": "CamembertTokenizer"}, {}),
        ("sentencepiece.bpe.model", "bert", {}, {}),
    ],
    ids=["mT5", "RemBERT", "XLM-R", "CamemBERT", "multilingual MiniLM"],
)
def test_other_models_with_a_sentencepiece_file_alone_read_what_it_says(
    tmp_path: Path, name: str, model_type: str, told: dict[str, str], options: dict[str, object]
):
    source = folder_with(tmp_path, name, model_type, told, **options)
    tokenizer = load_tokenizer_of(source)
    known = tokenizer.get_vocab()
    for text in [*TEXTS, *ODD]:
        wanted = [piece if piece in known else tokenizer.unk_token for piece in pieces_in(source, name, text)]
        assert pieces_of(tokenizer, text) == wanted
    assert tokenizer("a")["input_ids"] != tokenizer("a", add_special_tokens=False)["input_ids"]


def test_a_bert_with_fairseq_pieces_has_xlm_rs_numbers(tmp_path: Path):
    source = folder_with(tmp_path, "sentencepiece.bpe.model", "bert", {})
    read = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "sentencepiece.bpe.model"))
    ids = load_tokenizer_of(source)("Grüße", add_special_tokens=False)["input_ids"]
    assert ids == [piece + 1 for piece in read.encode("Grüße")]


@pytest.fixture
def lowercasing(tmp_path: Path) -> Source:
    """A byte-level tokenizer in tokenizer.json that reads all text in small letters, and the class that drops that."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer", "model_max_length": 77}')
    return Source("my-model", tmp_path)


def test_a_normaliser_that_a_class_drops_is_taken_from_tokenizer_json(lowercasing: Source):
    dropped = AutoTokenizer.from_pretrained(lowercasing.folder)
    assert dropped("GRÜSSE")["input_ids"] != dropped("grüsse")["input_ids"]
    tokenizer = load_tokenizer_of(lowercasing)
    assert tokenizer("GRÜSSE")["input_ids"] == tokenizer("grüsse")["input_ids"]
    assert (tokenizer.pad_token, tokenizer.mask_token, tokenizer.model_max_length) == ("<pad>", "<mask>", 77)


def test_a_bert_with_unigram_in_tokenizer_json_and_no_class_has_its_special_tokens(tmp_path: Path):
    """As multilingual E5 without its tokenizer_config.json: the class that transformers takes cannot split any text."""
    (tmp_path / "xlmr").mkdir()
    xlmr = folder_with(tmp_path / "xlmr", "sentencepiece.bpe.model", "xlm-roberta", {})
    wanted = AutoTokenizer.from_pretrained(xlmr.folder)
    wanted.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    tokenizer = load_tokenizer_of(Source("my-model", tmp_path))
    assert [tokenizer(text, "b")["input_ids"] for text in TEXTS] == [wanted(text, "b")["input_ids"] for text in TEXTS]
    special = {role: wanted.special_tokens_map[f"{role}_token"] for role in ("pad", "unk", "cls", "sep", "mask")}
    assert {role: getattr(tokenizer, f"{role}_token") for role in special} == special


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"tokenizer_class":"XLMRobertaTokenizer"}', True),
        ('{"tokenizer_class": null}', False),
        ('{"tokenizer_class": "cut off', False),
        ("[1]", False),
    ],
)
def test_a_class_is_named_however_the_file_is_written(content: str, named: bool, tmp_path: Path):
    (tmp_path / "tokenizer_config.json").write_text(content)
    assert names_class(tmp_path) == named
