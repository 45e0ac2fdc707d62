"""Classifiers that read the mean of a text's tokens: built, trained on, saved, exported and cut as others are."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from small_encoders import CONFIGS, inputs, logits
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    CamembertConfig,
    ElectraConfig,
    RobertaConfig,
)

from compress.errors import CompressError
from compress.models.build import build_student
from compress.models.load import load_config, load_model, load_teacher, save_tokenizer
from compress.models.outputs import mean_pooled
from compress.models.pooling import told_to_take_mean
from compress.models.pruning import prune
from compress.models.tokenizers import train_tokenizer
from compress.recipe.student import Student
from compress.recipe.teacher import Teacher
from compress.recipe.training import NewTokenizer
from compress.tasks.registry import task_named
from compress.teacher.signals import Signals, prepare, read
from compress.training.losses import hard_loss
from export.onnx.fusion import fuse_graphs
from export.onnx.plain import export_onnx

TASK = task_named("text-classification")
LABELS = ["a", "b", "c"]
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 3,
}
BODIES = {
    **{name: CONFIGS[name] for name in ("bert", "xlm-roberta", "distilbert", "deberta-v2")},
    "roberta": lambda: RobertaConfig(**SIZES),
    "camembert": lambda: CamembertConfig(**SIZES),
    "electra": lambda: ElectraConfig(**SIZES, embedding_size=32),
}


def pretrained(folder: Path, kind: str) -> Path:
    """A bare encoder with random weights and its tokenizer, as one comes from the hub."""
    tokenizer = train_tokenizer(["Grüße aus München", "東京都の天気"] * 20, NewTokenizer(vocabulary_size=100), 16)
    config = (BODIES | CONFIGS)[kind]()
    config.vocab_size, config.pad_token_id = max(50, len(tokenizer)), tokenizer.pad_token_id
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.1)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def say_pooling(folder: Path, config: dict) -> None:
    """Let a folder be of a sentence-transformers model."""
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {"idx": index, "name": str(index), "path": f"{index}_{kind}" if index else "", "type": f"st.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))


def taken(folder: Path, **fields) -> torch.nn.Module:
    return load_teacher(TASK, Teacher(model=str(folder), **fields), LABELS, 16)[0].eval()


def tensors(padding: int = 3) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs(padding=padding).items()}


@pytest.mark.parametrize("kind", BODIES)
def test_the_head_reads_the_mean_of_the_tokens_that_are_no_padding(kind, tmp_path):
    folder = pretrained(tmp_path / "body", kind)
    model, body = taken(folder, pooling="mean"), AutoModel.from_pretrained(folder).eval()
    states = body(**tensors()).last_hidden_state
    expected = model.score(mean_pooled(states, tensors()["attention_mask"]))
    torch.testing.assert_close(model(**tensors()).logits, expected)
    torch.testing.assert_close(states[0].mean(dim=0) @ model.score.weight.T, expected[0] - model.score.bias)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_it_is_saved_and_read_again_and_exported_in_a_folder_that_others_know(kind, tmp_path):
    model = taken(pretrained(tmp_path / "body", kind), pooling="mean")
    saved = tmp_path / "saved"
    model.save_pretrained(saved)
    for path in (tmp_path / "body").glob("tokenizer*"):
        shutil.copy(path, saved)
    assert json.loads((saved / "config.json").read_text())["model_type"] == f"mean-pooled-{kind}"
    again = load_model(TASK, saved, LABELS)
    torch.testing.assert_close(again.eval()(**tensors()).logits, model(**tensors()).logits)
    (plain := tmp_path / "plain").mkdir()
    export_onnx(TASK, saved, plain, LABELS)
    np.testing.assert_allclose(logits(plain / "model.onnx", inputs()), model(**tensors()).logits.detach(), atol=1e-5)
    (fused := tmp_path / "fused").mkdir()
    assert fuse_graphs(plain, fused) == 2
    np.testing.assert_allclose(logits(fused / "model.onnx", inputs()), model(**tensors()).logits.detach(), atol=1e-5)
    told = json.loads((fused / "config.json").read_text())
    assert (told["model_type"], told["classifier_pooling"]) == (kind, "mean")
    assert told["architectures"][0] == type(AutoModelForSequenceClassification.from_config(CONFIGS[kind]())).__name__
    assert onnxruntime.InferenceSession(plain / "model.onnx").get_outputs()[0].name == "logits"


def test_a_fine_tuned_one_is_taken_as_it_is_and_a_bare_one_refused(tmp_path):
    body = pretrained(tmp_path / "body", "bert")
    model = taken(body, pooling="mean")
    model.save_pretrained(body)
    torch.testing.assert_close(taken(body, fine_tune=False)(**tensors()).logits, model(**tensors()).logits)
    assert type(taken(body)) is type(model)  # fine-tuned further, it goes on with the mean


@pytest.mark.parametrize(
    "told", [{"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, {"pooling_mode": "mean"}]
)
def test_what_sentence_transformers_says_beside_a_model_holds(told, tmp_path):
    folder = pretrained(tmp_path, "bert")
    assert taken(folder).config.model_type == "bert"
    say_pooling(folder, told)
    assert taken(folder).config.model_type == "mean-pooled-bert"
    assert taken(folder, pooling="first").config.model_type == "bert"


@pytest.mark.parametrize(
    "told", [{"pooling_mode_cls_token": True}, {"pooling_mode": ["mean", "max"]}, {"pooling_mode_max_tokens": True}]
)
def test_another_pooling_is_not_taken_for_the_mean(told, tmp_path):
    say_pooling(tmp_path, told)
    assert not told_to_take_mean(tmp_path)


def test_a_pooling_that_cannot_be_read_is_none(tmp_path):
    say_pooling(tmp_path, {})
    (tmp_path / "1_Pooling" / "config.json").unlink()
    assert not told_to_take_mean(tmp_path)


def test_architectures_that_have_the_choice_themselves_are_asked_for_it(tmp_path):
    model = taken(pretrained(tmp_path, "modernbert"), pooling="mean")
    assert (model.config.model_type, model.config.classifier_pooling) == ("modernbert", "mean")


def test_an_architecture_without_such_a_class_is_refused(tmp_path):
    folder = pretrained(tmp_path, "bert")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "model_type": "megatron-bert"}))
    with pytest.raises(CompressError, match=r"teacher.pooling: mean cannot be had of .* \(megatron-bert\)"):
        taken(folder, pooling="mean")


@pytest.mark.parametrize("method", ["importance", "svd"])
def test_a_student_is_cut_out_of_it(method, tmp_path):
    teacher = taken(pretrained(tmp_path, "bert"), pooling="mean")
    shape = Student(layers=2, hidden_size=32, heads=4, feed_forward_size=64)
    student = build_student(teacher, shape).eval()
    batch = {**tensors(), "labels": torch.tensor([[0], [1], [2]])}

    def loss(model, batch):
        return hard_loss(model(batch["input_ids"], batch["attention_mask"]).logits[:, None], batch["labels"]).mean()

    prune(teacher, student, [0, 1], [batch], loss, method)
    if method == "importance":  # all of it is kept, in its order
        torch.testing.assert_close(student(**tensors()).logits, teacher(**tensors()).logits)
    assert not torch.equal(student.score.weight, build_student(teacher, shape).score.weight)
    halved = build_student(teacher, Student(every_nth_layer=2))
    torch.testing.assert_close(halved.score.weight, teacher.score.weight)


def test_its_hidden_states_and_attention_can_be_learnt_from(tmp_path):
    model = taken(pretrained(tmp_path, "bert"), pooling="mean")
    signals = Signals(hidden=(0, 2), query=(2,), key=(2,), sentence=True)
    prepare(model, signals)
    found = read(model, tensors(), signals)
    torch.testing.assert_close(model.score(found["sentence"]), found["logits"])
    assert found["hidden"].shape == (3, 9, 2, 32)
    assert found["query"].shape == (3, 9, 1, 32)


def test_the_configuration_of_a_saved_one_is_known(tmp_path):
    taken(pretrained(tmp_path / "body", "bert"), pooling="mean").save_pretrained(tmp_path / "saved")
    assert type(load_config(tmp_path / "saved")).__name__ == "MeanPooledBertConfig"
