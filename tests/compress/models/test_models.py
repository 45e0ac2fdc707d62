import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch.nn import Dropout
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    PreTrainedConfig,
    XLMRobertaConfig,
)

from compress.errors import CompressError
from compress.models.build import build_student
from compress.models.load import save_tokenizer
from compress.models.sentence import SentenceEncoder
from compress.models.sentence_folder import SentenceHead, SentenceModule, keep_head
from compress.models.tokenizers import token_ids, train_tokenizer, unknown_share
from compress.recipe.student import Student
from compress.recipe.training import NewTokenizer

CONFIGS = [
    BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32),
    DistilBertConfig(vocab_size=50, dim=16, n_layers=4, n_heads=2, hidden_dim=32),
    XLMRobertaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.model_type)
def teacher(request):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(request.param).eval()


def test_a_student_has_the_wanted_shape(teacher):
    student = build_student(teacher, Student(layers=2, hidden_size=8, heads=2, feed_forward_size=12))
    assert student.config.num_hidden_layers == 2
    assert student.config.hidden_size == 8
    inputs = torch.ones((2, 5), dtype=torch.int64)
    assert student(inputs).logits.shape == (2, teacher.config.num_labels)
    assert any(12 in weight.shape for weight in student.parameters())


def test_a_narrower_student_keeps_the_geometry_of_the_embeddings(teacher):
    student = build_student(teacher, Student(layers=2, hidden_size=8, heads=2, feed_forward_size=12))
    ours = student.get_input_embeddings().weight
    theirs = teacher.get_input_embeddings().weight
    distances = [torch.cdist(weight, weight).flatten() for weight in (ours, theirs)]
    assert torch.corrcoef(torch.stack(distances))[0, 1] > 0.7


def test_every_second_layer_is_copied(teacher):
    student = build_student(teacher, Student(every_nth_layer=2))
    assert student.config.num_hidden_layers == 2
    theirs, ours = teacher.state_dict(), student.state_dict()
    copied = {key: value for key, value in ours.items() if ".0." in key and "layer" in key}
    assert copied
    for key, value in copied.items():
        assert torch.equal(value, theirs[key.replace(".0.", ".1.", 1)]), key


def test_all_layers_copied_give_the_same_outputs(teacher):
    student = build_student(teacher, Student(every_nth_layer=1)).eval()
    inputs = torch.arange(10).reshape(2, 5) + 3
    assert torch.allclose(student(inputs).logits, teacher(inputs).logits, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_a_student_of_vectors_has_no_dropout_and_others_have_their_teachers(config: PreTrainedConfig):
    with_head = deepcopy(config)
    keep_head(with_head, SentenceHead(modules=[SentenceModule(kind="Pooling", modes=["mean"])]))
    teachers = (AutoModelForSequenceClassification.from_config(config), SentenceEncoder(with_head))
    shape = Student(layers=1, hidden_size=8, heads=2, feed_forward_size=12)
    of_labels, of_vectors = (
        {module.p for module in build_student(teacher, shape).modules() if isinstance(module, Dropout)}
        for teacher in teachers
    )
    assert of_labels >= {0.1}
    assert of_vectors == {0.0}


def test_too_large_a_step_is_refused(teacher):
    with pytest.raises(CompressError, match=r"5 leaves none of the teacher's 4 layers"):
        build_student(teacher, Student(every_nth_layer=5))


def test_the_trained_tokenizer_is_reloaded_equal(tmp_path: Path):
    texts = ["Grüße aus München", "東京都の天気", "привет мир"] * 20
    tokenizer = train_tokenizer(texts, NewTokenizer(vocabulary_size=120), max_length=16)
    tokenizer(texts, truncation=True, max_length=4)
    save_tokenizer(tokenizer, tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*texts[:3], "MÜNCHEN 東京"):
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert again.decode(again(text)["input_ids"], skip_special_tokens=True).replace(" ", "")
    assert tokenizer("GRÜSSE")["input_ids"] == tokenizer("grüsse")["input_ids"]
    assert tokenizer("a", "b")["input_ids"].count(tokenizer.sep_token_id) == 2
    kept = json.loads((tmp_path / "tokenizer.json").read_text())
    assert (kept["truncation"], kept["padding"]) == (None, None)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize(("texts", "wanted"), [(["ab ba"], 0), (["ab 天"], 1 / 4), (["ab", "天気"], 2 / 5), ([""], 0)])
def test_tokens_that_a_tokenizer_does_not_know_are_counted(texts: list[str], wanted: float):
    tokenizer = train_tokenizer(["ab ba aa"] * 20, NewTokenizer(), max_length=16)
    assert unknown_share(tokenizer, token_ids(tokenizer, texts)) == wanted
