"""What a model from elsewhere is let in by: its tokenizer against its file, and what is told of it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    PreTrainedConfig,
    RemBertConfig,
    XLMRobertaConfig,
)

from compress.errors import CompressError
from compress.models.intake import TakenIn, take_in
from compress.recipe.teacher import Teacher
from compress.tasks.registry import task_named

TEXTS = {
    "de": ["Grüße aus München", "das Wetter in Köln", "Hamburg liegt am Meer"],
    "ru": ["привет мир", "погода в москве"],
    "zh": ["今天,天气好", "你好,世界", "再见"],
}
_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece file, numbered as fairseq's and DeBERTa's are, whose normaliser makes wide signs narrow."""
    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for texts in TEXTS.values() for text in texts] * 30),
        model_prefix=str(folder / "pieces"),
        vocab_size=100,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    return folder / "pieces.model"


def folder_with(root: Path, config: PreTrainedConfig, tokenizer: Path, name: str, told: Mapping[str, object]) -> Path:
    """A classifier of two labels, with the file of its tokenizer, and what is said of that."""
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(root / "model")
    shutil.copy(tokenizer, root / "model" / name)
    (root / "model" / "tokenizer_config.json").write_text(json.dumps(told))
    return root / "model"


def bert(**fields: object) -> BertConfig:
    return BertConfig(vocab_size=400, max_position_embeddings=32, **{**_SIZES, **fields})


def taken(folder: Path, texts: Mapping[str, list[str]] = TEXTS, **settings: object) -> TakenIn:
    teacher = Teacher.model_validate({"model": str(folder), "fine_tune": False, **settings})
    return take_in(task_named("text-classification"), teacher, ["LABEL_0", "LABEL_1"], 16, texts)


def test_a_bert_with_sentencepiece_is_refused_where_it_names_its_class_wrongly(pieces: Path, tmp_path: Path):
    folder = folder_with(tmp_path, bert(), pieces, "sentencepiece.bpe.model", {"tokenizer_class": "BertTokenizer"})
    with pytest.raises(CompressError) as refused:
        taken(folder)
    message = str(refused.value)
    assert message.startswith(f"{folder}: the tokenizer that transformers makes of it (BertTokenizer) splits 8 of 8 ")
    assert ": 100.0 % of the tokens in ru are others ('привет мир': (unknown) (unknown) instead of ▁п р и); " in message
    assert message.endswith(
        "; name its own class as tokenizer_class in tokenizer_config.json, or put there the tokenizer.json that "
        "transformers 4 makes of it"
    )
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    found = taken(folder).intake.tokenizer
    assert found is not None
    assert (found.file, found.texts, found.differing) == ("sentencepiece.bpe.model", 8, 0)


def test_numbers_that_are_one_higher_by_design_are_no_difference(pieces: Path, tmp_path: Path):
    config = XLMRobertaConfig(vocab_size=400, max_position_embeddings=34, **_SIZES)
    loaded = taken(folder_with(tmp_path, config, pieces, "sentencepiece.bpe.model", {}))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    own = loaded.tokenizer("Grüße", add_special_tokens=False)["input_ids"]
    assert own == [piece + 1 for piece in reference.encode("Grüße")]
    assert loaded.intake.tokenizer is not None
    assert loaded.intake.tokenizer.differing == 0
    assert loaded.intake.positions == 32


def test_text_that_a_class_changes_in_its_own_way_is_told_and_refused_where_there_is_much(
    pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """It splits at punctuation before SentencePiece does: its file alone does not tell how."""
    config = DebertaV2Config(vocab_size=400, max_position_embeddings=32, **_SIZES)
    told = {"unk_token": "<unk>", "pad_token": "<pad>", "split_by_punct": True}
    folder = folder_with(tmp_path, config, pieces, "spm.model", told)
    with pytest.raises(CompressError, match=r"\(DebertaV2Tokenizer\) splits 2 of 8 texts .* of the tokens in zh are"):
        taken(folder)
    few = taken(folder, {"zh": [TEXTS["zh"][2]] * 200 + TEXTS["zh"][:1]}).intake.tokenizer
    assert few is not None
    assert few.other_tokens["zh"] < 0.01
    warning = "warning: the tokenizer that transformers makes of it (DebertaV2Tokenizer) splits 1 of 201 texts"
    assert warning in " ".join(capsys.readouterr().err.split())


def test_precision_of_the_files_and_what_is_left_out_are_told(
    pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = {"tokenizer_class": "XLMRobertaTokenizer"}
    folder = folder_with(tmp_path, bert(), pieces, "sentencepiece.bpe.model", told)
    weights = load_file(folder / "model.safetensors")
    halves = {name: values.to(torch.bfloat16) for name, values in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(modules))
    intake = taken(folder, fine_tune=True).intake
    assert (intake.precision, intake.left_out) == ("bfloat16", ["Pooling", "Normalize"])
    said = " ".join(capsys.readouterr().err.split())
    assert "8 texts are split as its sentencepiece.bpe.model says" in said
    assert "weights in bfloat16, which are read into float32; reads 32 tokens of a row" in said
    assert "warning: the task leaves out what modules.json names (Pooling, Normalize)" in said
    headless = {name: values for name, values in halves.items() if not name.startswith("classifier")}
    save_file(headless, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CompressError, match=r"lack the head .* nothing does what modules.json names \(Pooling, Norm"):
        taken(folder)
    (folder / "modules.json").write_text('{"a": 1}')
    with pytest.raises(CompressError, match=r"its modules.json is no list of modules; copy it again, or delete it"):
        taken(folder, fine_tune=True)


def test_a_class_that_forgets_what_stands_around_a_text_is_told(
    pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = RemBertConfig(vocab_size=400, max_position_embeddings=32, input_embedding_size=8, **_SIZES)
    told = {"unk_token": "<unk>", "pad_token": "<s>", "cls_token": "▁м", "sep_token": "</s>"}
    loaded = taken(folder_with(tmp_path, config, pieces, "sentencepiece.model", told))
    assert loaded.tokenizer("привет")["input_ids"] == loaded.tokenizer("привет", add_special_tokens=False)["input_ids"]
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: its tokenizer has ▁м and </s> and puts neither around a text; if the model was trained" in said


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_teacher_that_is_taken_as_it_is_may_be_held_in_half_precision(pieces: Path, tmp_path: Path, dtype: str):
    told = {"tokenizer_class": "XLMRobertaTokenizer"}
    model = taken(folder_with(tmp_path, bert(), pieces, "sentencepiece.bpe.model", told), dtype=dtype).model
    assert {values.dtype for values in model.parameters()} == {getattr(torch, dtype)}
