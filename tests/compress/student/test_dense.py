"""The layer behind a narrower student's pooling, as it is before the training."""

from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig

from compress.models.sentence import SentenceEncoder
from compress.models.sentence_folder import SentenceHead, SentenceModule, keep_head
from compress.student.dense import fit_dense

POOLING = SentenceModule(kind="Pooling", modes=["mean"])
DENSE = SentenceModule(kind="Dense", width=8, out=6, bias=True)
THEIRS = SentenceModule(kind="Dense", width=8, out=6, activation="Tanh", bias=False)
NORMALIZE = SentenceModule(kind="Normalize")


class Texts(list):
    """Examples, read a batch at a time."""

    def __getitems__(self, indices: list[int]) -> list[dict]:
        return [self[index] for index in indices]


def student(*modules: SentenceModule) -> SentenceEncoder:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16,
        max_position_embeddings=16,
    )  # fmt: skip
    keep_head(config, SentenceHead(modules=[*modules]))
    return SentenceEncoder(config).eval()


def texts_of(model: SentenceEncoder) -> tuple[SimpleNamespace, list[torch.Tensor]]:
    """Texts, and teacher's vectors that are what the student pools, turned, and moved far to one side."""
    generator = torch.Generator().manual_seed(0)
    lengths = [2 + number % 9 for number in range(200)]
    ids = [torch.randint(5, 50, (length,), generator=generator).tolist() for length in lengths]
    turn, side = torch.randn(6, 8, generator=generator), torch.full((6,), 3.0)
    with torch.inference_mode():
        pooled = [model.body(input_ids=torch.tensor([row])).last_hidden_state.mean(dim=1)[0] for row in ids]
    vectors = [torch.nn.functional.normalize(turn @ vector + side, dim=-1) for vector in pooled]
    texts = Texts({"input_ids": row, "vector": vector} for row, vector in zip(ids, vectors, strict=True))
    return SimpleNamespace(train=texts, train_languages=["en", "de"] * 100), vectors


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask[number, : len(row["input_ids"])] = 1
    return {"input_ids": ids, "attention_mask": mask, "teacher_logits": torch.stack([row["vector"] for row in rows])}


def cosine(model: SentenceEncoder, data: SimpleNamespace, vectors: list[torch.Tensor]) -> float:
    batch = collate(data.train)
    with torch.inference_mode():
        found = model(batch["input_ids"], batch["attention_mask"])["sentence_embedding"]
    return torch.nn.functional.cosine_similarity(found, torch.stack(vectors), dim=-1).min().item()


def test_it_begins_as_near_to_the_teachers_vectors_as_it_can():
    model = student(POOLING, DENSE, NORMALIZE)
    data, vectors = texts_of(model)
    assert cosine(model, data, vectors) < 0.9
    fit_dense(model, SentenceHead(modules=[POOLING, NORMALIZE]), data, collate, seed=0)
    assert cosine(model, data, vectors) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("teacher", "modules"),
    [
        ([POOLING, NORMALIZE], [POOLING, NORMALIZE]),
        ([POOLING, THEIRS, NORMALIZE], [POOLING, THEIRS, NORMALIZE]),
        ([POOLING, THEIRS], [POOLING, DENSE, THEIRS.model_copy(update={"width": 6})]),
    ],
    ids=["none", "its-teachers", "its-teachers-behind-its-own"],
)
def test_a_student_without_one_or_with_layers_of_its_teacher_stays_as_it_is(
    teacher: list[SentenceModule], modules: list[SentenceModule]
):
    model = student(*modules)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_dense(model, SentenceHead(modules=teacher), texts_of(model)[0], collate, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
