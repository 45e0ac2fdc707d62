import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    ModernBertConfig,
    XLMRobertaConfig,
)

from compress.errors import CompressError
from compress.models.build import build_student
from compress.models.pruning import prune
from compress.recipe.student import Student

SPECIAL = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
SHAPE = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 32}
CONFIGS = [
    BertConfig(vocab_size=50, **SHAPE),
    DistilBertConfig(vocab_size=50, dim=16, n_layers=4, n_heads=4, hidden_dim=32),
    XLMRobertaConfig(vocab_size=50, **SHAPE),
    ModernBertConfig(vocab_size=50, **SHAPE, **SPECIAL),
]
ALL_LAYERS = [0, 1, 2, 3]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.model_type)
def teacher(request):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(request.param).eval()


def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        ids = torch.randint(5, 50, (8, 6), generator=generator)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}


def own_loss(model, batch):
    return model(**batch).loss


def shaped(teacher, **shape):
    wanted = {"layers": 4, "hidden_size": 16, "heads": 4, "feed_forward_size": 32, **shape}
    return build_student(teacher, Student(**wanted)).eval()


INPUTS = {"input_ids": torch.tensor([[7, 8, 9, 10]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}


@pytest.mark.parametrize("method", ["importance", "svd"])
def test_nothing_is_lost_where_nothing_is_cut(teacher, method: str):
    student = shaped(teacher)
    prune(teacher, student, ALL_LAYERS, batches(), own_loss, method)
    assert torch.allclose(student(**INPUTS).logits, teacher(**INPUTS).logits, atol=1e-5)


@pytest.mark.parametrize("method", ["importance", "svd"])
def test_every_nth_layer_is_taken_in_a_narrower_width(teacher, method):
    shape = {"every_nth_layer": 2, "hidden_size": 8, "heads": 2, "feed_forward_size": 16, "initialization": method}
    student = build_student(teacher, Student(**shape)).eval()
    assert (student.config.num_hidden_layers, student.config.hidden_size) == (2, 8)
    prune(teacher, student, [1, 3], batches(), own_loss, method)
    for name in (name for name in student.state_dict() if ".1." in name and method == "importance"):
        theirs = teacher.state_dict()[name.replace(".1.", ".3.")]  # the last one's, of which a part is left
        assert set(student.state_dict()[name].flatten().tolist()) <= set(theirs.flatten().tolist())
    assert student(**INPUTS).logits.shape == (1, 2)


def test_neurons_without_effect_are_the_ones_that_go(teacher):
    """Half of the neurons are silenced; a student of half as many says what the teacher says."""
    with torch.no_grad():
        for name, weight in teacher.named_parameters():
            if name.endswith(("layer.0.output.dense.weight", "lin2.weight", "mlp.Wo.weight")) or (
                ".output.dense.weight" in name and "attention" not in name
            ):
                weight[:, ::2] = 0.0
    student = shaped(teacher, feed_forward_size=16)
    prune(teacher, student, ALL_LAYERS, batches(), own_loss, "importance")
    assert torch.allclose(student(**INPUTS).logits, teacher(**INPUTS).logits, atol=1e-5)


@pytest.mark.parametrize("method", ["importance", "svd"])
def test_a_narrower_student_starts_closer_to_its_teacher_than_chance(teacher, method: str):
    student = shaped(teacher, layers=2, hidden_size=8, heads=2, feed_forward_size=16)
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    prune(teacher, student, [1, 3], batches(), own_loss, method)
    changed = [name for name, weight in student.state_dict().items() if not torch.equal(weight, before[name])]
    assert any("1." in name for name in changed)
    assert student(**INPUTS).logits.isfinite().all()


def test_channels_that_matter_are_kept():
    torch.manual_seed(0)
    teacher = AutoModelForSequenceClassification.from_config(CONFIGS[0]).eval()
    student = shaped(teacher, hidden_size=8, heads=2)
    prune(teacher, student, ALL_LAYERS, batches(), own_loss, "importance")
    theirs, ours = (model.get_input_embeddings().weight for model in (teacher, student))
    columns = {tuple(column.tolist()) for column in theirs.T}
    assert all(tuple(column.tolist()) in columns for column in ours.T)


def test_svd_keeps_the_directions_that_rows_use():
    """States that lie in as many directions as the student is wide, whichever way these are turned, are kept whole."""
    torch.manual_seed(0)
    teacher = AutoModelForSequenceClassification.from_config(CONFIGS[0]).eval()
    turned = torch.randn(8, 16)
    turned -= turned.mean(dim=1, keepdim=True)  # norms take the mean away
    with torch.no_grad():
        for name, weight in teacher.bert.named_parameters():
            if "position" in name or "token_type" in name or "output.dense" in name:
                weight.zero_()
        words = teacher.get_input_embeddings().weight
        words[5:] = torch.randn(45, 8) @ turned
    kept = {}
    for method in ("importance", "svd"):
        student = shaped(teacher, hidden_size=8, heads=2)
        prune(teacher, student, ALL_LAYERS, batches(), own_loss, method)
        kept[method] = student.get_input_embeddings().weight.norm(dim=1) / words.norm(dim=1).clamp(min=1e-6)
    assert torch.allclose(kept["svd"][5:], torch.ones(45), atol=1e-4)
    assert kept["svd"][1:5].max() < 0.99  # those that no row has may go
    assert kept["importance"][5:].mean() < 0.95


def test_heads_of_another_width_are_refused(teacher):
    student = shaped(teacher, hidden_size=8, heads=4)
    with pytest.raises(CompressError, match=r"heads of width 2 cannot be cut out of the teacher's, which are 4 wide"):
        prune(teacher, student, ALL_LAYERS, batches(), own_loss, "importance")


def test_an_unknown_architecture_is_refused():
    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, pad_token_id=0)
    teacher = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(CompressError, match=r"is not known; only `embeddings` and `random` work for it"):
        prune(teacher, teacher, [0, 1], batches(), own_loss, "importance")
