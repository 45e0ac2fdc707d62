"""Students of models that read and write: which layers they take, and their shapes."""

import pytest
import torch
from small_translators import CONFIGS
from transformers import AutoModelForSeq2SeqLM

from compress.errors import CompressError
from compress.models.build import build_student
from compress.models.describe import summary_of
from compress.models.encoder_decoder import layer_counts
from compress.recipe.student import Student


@pytest.fixture(params=CONFIGS)
def teacher(request):
    torch.manual_seed(0)
    config = CONFIGS[request.param]()
    for name in ("encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers"):
        if hasattr(config, name):
            setattr(config, name, 4)
    return AutoModelForSeq2SeqLM.from_config(config).eval()


def decoder_queries(model) -> list[torch.Tensor]:
    """The query weights of the decoder's own attention, layer by layer."""
    named = model.get_decoder().named_parameters()
    return [weight for name, weight in named if name.endswith(("self_attn.q_proj.weight", "SelfAttention.q.weight"))]


def logits(model) -> torch.Tensor:
    ids = torch.tensor([[5, 6, 7, 8]])
    return model(input_ids=ids, decoder_input_ids=torch.tensor([[0, 9, 4]])).logits


def test_all_layers_make_the_teacher_itself(teacher):
    student = build_student(teacher, Student(every_nth_layer=1)).eval()
    assert torch.allclose(logits(student), logits(teacher), atol=1e-5)


def test_a_shallow_decoder_takes_the_first_and_the_last_layer(teacher):
    student = build_student(teacher, Student(every_nth_layer=1, decoder_layers=2))
    assert layer_counts(student.config) == (4, 2)
    assert summary_of(student).shape == "4+2x32"
    ours, theirs = decoder_queries(student), decoder_queries(teacher)
    assert [next(i for i, weight in enumerate(theirs) if torch.equal(weight, own)) for own in ours] == [0, 3]


def test_a_shape_of_its_own(teacher):
    shape = Student(layers=3, decoder_layers=1, hidden_size=16, heads=2, feed_forward_size=24)
    student = build_student(teacher, shape).eval()
    assert summary_of(student).shape == "3+1x16"
    assert decoder_queries(student)[0].shape == (16, 16)
    assert logits(student).isfinite().all()


def test_more_layers_than_there_are_is_refused(teacher):
    with pytest.raises(CompressError, match=r"student.decoder_layers: 5 layers cannot be taken out of the teacher's 4"):
        build_student(teacher, Student(every_nth_layer=2, decoder_layers=5))
