import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, DistilBertConfig, ModernBertConfig

from compress.errors import CompressError
from compress.recipe.student import Distillation
from compress.student.distillation import Companion, signal_losses
from compress.teacher.signals import Shape, Signals, check_comparable, mapped_layers, plan_signals, prepare, read

EVERYTHING = Distillation.model_validate(
    {
        "hidden": {"weight": 1},
        "embeddings": {"weight": 1},
        "attention": {"weight": 1},
        "relations": {"weight": 1, "heads": 4},
        "sentences": {"weight": 1},
    }
)


def classifier(config):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def bert(**shape):
    shape = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32, **shape}
    return BertConfig(vocab_size=50, initializer_range=0.3, **shape)


INPUTS = {
    "input_ids": torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
}


def test_layers_are_mapped_evenly_from_the_end_or_as_given():
    assert mapped_layers("uniform", 2, 4) == [2, 4]
    assert mapped_layers("uniform", 3, 12) == [4, 8, 12]
    assert mapped_layers("last", 2, 4) == [3, 4]
    assert mapped_layers([1, 4], 2, 4) == [1, 4]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([1], "hidden.layers: 1 teacher layers are given, the student has 2 layers"),
        ([1, 5], "hidden.layers: the teacher has no layer 5; it has 4"),
    ],
)
def test_a_wrong_layer_map_is_refused(layers: list[int], message: str):
    with pytest.raises(CompressError, match=message):
        mapped_layers(layers, 2, 4)


def test_the_plan_pairs_layers_in_order():
    plan = plan_signals(EVERYTHING, 2, 4)
    assert plan.teacher == Signals((0, 2, 4), (2, 4, 4), (2, 4, 4), (4,), sentence=True)
    assert plan.student == Signals((0, 1, 2), (1, 2, 2), (1, 2, 2), (2,), sentence=True)
    assert plan_signals(Distillation(), 2, 4).teacher == Signals()


@pytest.mark.parametrize(
    "config",
    [
        bert(),
        DistilBertConfig(vocab_size=50, dim=16, n_layers=4, n_heads=2, hidden_dim=32),
        ModernBertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
            pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2,
        ),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_reading_a_model_does_not_change_what_it_says(config):
    model = classifier(config)
    expected = model(**INPUTS).logits
    signals = plan_signals(EVERYTHING, 4, 4).teacher
    prepare(model, signals)
    found = read(model, INPUTS, signals)
    assert torch.allclose(found["logits"], expected, atol=1e-5)
    assert found["hidden"].shape == (2, 4, 5, 16)
    assert found["query"].shape == found["key"].shape == (2, 4, 5, 16)
    assert found["value"].shape == (2, 4, 1, 16)
    assert found["sentence"].shape == (2, 16)


def test_recorded_queries_and_keys_give_the_attention_map():
    """Against the attention that the model itself returns."""
    model = classifier(bert())
    model.set_attn_implementation("eager")
    expected = model(**INPUTS, output_attentions=True).attentions[1]
    signals = Signals(query=(2,), key=(2,))
    prepare(model, signals)
    found = read(model, INPUTS, signals)
    query, key = (found[name][:, :, 0].unflatten(-1, (2, 8)).transpose(1, 2) for name in ("query", "key"))
    scores = (query @ key.transpose(-1, -2) / 8**0.5).masked_fill(INPUTS["attention_mask"][:, None, None] == 0, -1e9)
    assert torch.allclose(scores.softmax(dim=-1), expected, atol=1e-5)


def test_a_copy_of_the_teacher_has_no_signal_loss_and_another_model_has():
    plan = plan_signals(EVERYTHING, 4, 4)
    companion = Companion(plan, 16, 16, attention_heads=2, languages=1)
    models = [classifier(bert()), classifier(bert()), AutoModelForSequenceClassification.from_config(bert()).eval()]
    for model in models:
        prepare(model, plan.teacher)
    teacher, copy, other = (read(model, INPUTS, plan.teacher) for model in models)
    mask = INPUTS["attention_mask"]
    same = signal_losses(EVERYTHING, copy, teacher, mask, companion.projections, 2)
    different = signal_losses(EVERYTHING, other, teacher, mask, companion.projections, 2)
    assert set(same) == {"embeddings", "hidden", "attention", "relations", "sentences"}
    for name in same:
        assert same[name].shape == (2,)
        assert same[name].abs().max() < 1e-5, name
        assert different[name].min() > 1e-5, name


def test_widths_may_differ_where_projections_and_relations_join_them():
    plan = plan_signals(EVERYTHING.model_copy(update={"attention": Distillation().attention}), 2, 4)
    teacher, student = classifier(bert()), classifier(bert(hidden_size=8, num_hidden_layers=2))
    prepare(teacher, plan.teacher)
    prepare(student, plan.student)
    companion = Companion(plan, 8, 16, attention_heads=2, languages=1)
    settings = EVERYTHING.model_copy(update={"attention": Distillation().attention})
    said = {name: values.detach() for name, values in read(teacher, INPUTS, plan.teacher).items()}
    losses = signal_losses(
        settings, read(student, INPUTS, plan.student), said, INPUTS["attention_mask"], companion.projections, 2
    )
    torch.stack(list(losses.values())).sum().backward()
    assert all(weight.grad is not None for weight in companion.parameters())


def test_signals_that_cannot_be_compared_are_refused():
    with pytest.raises(CompressError, match=r"4 heads cannot be compared with the teacher's 2; use relations"):
        check_comparable(EVERYTHING, Shape(4, 16, 4), Shape(4, 16, 2))
    with pytest.raises(CompressError, match=r"4 does not divide the widths 6 and 16; use a divisor of 2"):
        check_comparable(EVERYTHING, Shape(4, 6, 2), Shape(4, 16, 2))


def test_with_a_pivot_tokens_are_not_compared():
    with pytest.raises(ValueError, match="hidden cannot be compared; use sentences, or no pivot"):
        Distillation.model_validate({"pivot": "en", "hidden": {"weight": 1}})


def test_attention_that_is_computed_in_half_precision_is_compared_in_32_bits():
    model = classifier(bert())
    signals = Signals(query=(1,), key=(2,), value=(2,))
    prepare(model, signals)
    inputs = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = read(model, inputs, signals)
    assert {found[name].dtype for name in ("query", "key", "value")} == {torch.float32}
