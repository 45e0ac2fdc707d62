"""The first vectors of a static student: its teacher's of single tokens, on principal components, rare ones longer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_sentence_models as small
import torch
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel

from compress.errors import CompressError
from compress.models.build import build_student, student_config
from compress.models.describe import embeddings_of
from compress.models.load import load_teacher, load_tokenizer
from compress.models.outputs import mean_pooled
from compress.models.static import StaticConfig, StaticForSequenceClassification
from compress.recipe.student import Distillation, Student, VectorSignal
from compress.recipe.teacher import Teacher
from compress.student.static import _around_texts, fill_table, write_model2vec
from compress.student.vectors import vector_targets
from compress.tasks.registry import task_named


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_encoder(tmp_path_factory.mktemp("teacher") / "encoder")


def filled(teacher: Path, texts: list[str], width: int = 32) -> StaticForSequenceClassification:
    tokenizer = load_tokenizer(teacher)
    student = StaticForSequenceClassification(StaticConfig(500, width))
    ids = tokenizer(texts)["input_ids"]
    fill_table(AutoModel.from_pretrained(teacher), student, (tokenizer, tokenizer), ids)
    return student.eval()


def test_vectors_of_equally_frequent_tokens_are_as_far_apart_as_the_teacher_s(teacher: Path):
    tokenizer, body = load_tokenizer(teacher), AutoModel.from_pretrained(teacher).eval()
    student = filled(teacher, [" ".join(small.WORDS)])
    assert embeddings_of(student).shape == (len(tokenizer), 32)
    numbers = tokenizer.convert_tokens_to_ids(list(small.WORDS[:20]))
    inputs = tokenizer(list(small.WORDS[:20]), return_tensors="pt")
    with torch.inference_mode():
        said = body(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
    wanted, found = (
        torch.pdist(mean_pooled(said, inputs["attention_mask"])),
        torch.pdist(embeddings_of(student)[numbers]),
    )
    assert (found / wanted).std() < 1e-4 * (found / wanted).mean()


@pytest.mark.parametrize(("projection", "width"), [("dense", 32), ("principal-components", 8)])
def test_tokens_of_a_student_that_gives_vectors_begin_where_its_teacher_s_vectors_of_them_are(
    projection: str, width: int, tmp_path: Path
):
    folder = small.write_sentence_model(tmp_path / "theirs")
    teacher, tokenizer = load_teacher(task_named("embedding"), Teacher(model=str(folder), fine_tune=False), [], 32)
    inputs = tokenizer(list(small.WORDS), return_tensors="pt")
    with torch.inference_mode():
        said = teacher.eval()(inputs["input_ids"], inputs["attention_mask"])["sentence_embedding"]
    settings = Student(
        kind="static", hidden_size=width, distillation=Distillation(vectors=VectorSignal(projection=projection))
    )
    student = build_student(teacher, settings)
    targets, _ = vector_targets(settings.distillation.vectors, student.config, said.numpy)
    fill_table(teacher, student, (tokenizer, tokenizer), [], targets)
    with torch.inference_mode():
        found = student.eval()(inputs["input_ids"], inputs["attention_mask"])["sentence_embedding"]
    assert torch.allclose(found, targets.of(said), atol=1e-5)


def test_frequent_tokens_weigh_less_and_special_and_unknown_ones_nothing(teacher: Path):
    tokenizer = load_tokenizer(teacher)
    even, skewed = (filled(teacher, texts) for texts in ([" ".join(small.WORDS)], ["w1 " * 200, " ".join(small.WORDS)]))
    lengths = [embeddings_of(student).norm(dim=-1) for student in (even, skewed)]
    rare, frequent = (tokenizer.convert_tokens_to_ids(word) for word in ("w2", "w1"))
    assert lengths[1][frequent] / lengths[1][rare] < 0.1 * lengths[0][frequent] / lengths[0][rare]
    assert skewed.config.weightless == sorted(tokenizer.all_special_ids)
    assert not lengths[1][tokenizer.all_special_ids].any()


def test_before_anything_is_trained_a_student_wider_than_its_teacher_is_refused(teacher: Path):
    config = AutoConfig.from_pretrained(teacher)
    assert student_config(config, Student(kind="static", hidden_size=32)).hidden_size == 32
    with pytest.raises(CompressError, match=r"hidden_size: 40 numbers .* are more than the 32 of its teacher's"):
        student_config(config, Student(kind="static", hidden_size=40))


@pytest.mark.parametrize(
    ("template", "around"),
    [("[CLS] $A [SEP]", ([1], [2])), ("$A [SEP]", ([], [2])), ("[CLS] $A", ([1], [])), ("$A", ([], []))],
)
def test_a_token_is_asked_between_the_special_ones_that_a_text_has(
    teacher: Path, template: str, around: tuple[list[int], list[int]]
):
    tokenizer = load_tokenizer(teacher)
    tokens = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=tokens)
    assert _around_texts(tokenizer) == around


def test_what_weighs_nothing_learns_nothing(teacher: Path):
    student = filled(teacher, ["w1 w2"]).train()
    inputs = load_tokenizer(teacher)(["w1 w2", "w3 nobody knows"], padding=True, return_tensors="pt")
    student(inputs["input_ids"], inputs["attention_mask"]).logits.sum().backward()
    changed = student.get_input_embeddings().weight.grad.abs().sum(dim=-1).nonzero().flatten().tolist()
    assert set(changed) == set(load_tokenizer(teacher).convert_tokens_to_ids(["w1", "w2", "w3"]))


def test_the_folder_for_model2vec_has_the_table_the_tokenizer_and_the_length(teacher: Path, tmp_path: Path):
    student = filled(teacher, ["w1 w2"], 8)
    write_model2vec(student, load_tokenizer(teacher), 32, tmp_path)
    folder = tmp_path / "model2vec"
    assert torch.equal(load_file(folder / "model.safetensors")["embeddings"], embeddings_of(student))
    told = json.loads((folder / "config.json").read_text("utf-8"))
    assert (told["normalize"], told["max_length"]) == (True, 30)
