"""Architectures that cannot be exported are found before anything is trained."""

import pytest
import small_encoders
import small_translators
from transformers import CanineConfig, MBartConfig, MT5Config, Qwen3Config, XmodConfig

from compress.errors import CompressError
from compress.tasks.registry import task_named
from export.onnx.trial import try_export

CLASSIFICATION, TRANSLATION = task_named("text-classification"), task_named("translation")
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
_SIDES = {
    "vocab_size": 64, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}


def test_encoders_that_can_be_exported_pass():
    try_export(CLASSIFICATION, small_encoders.CONFIGS["xlm-roberta"](), INPUTS)


def test_a_decoder_with_a_head_passes_though_it_could_remember_what_it_has_read():
    config = Qwen3Config(**SIZES, head_dim=8, num_key_value_heads=2, num_labels=3, pad_token_id=0)
    assert config.use_cache
    try_export(CLASSIFICATION, config, INPUTS)


def test_a_head_at_the_end_of_what_a_decoder_says_passes():
    config = MT5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, num_labels=3)
    try_export(CLASSIFICATION, config, INPUTS)


def test_translators_that_can_be_exported_pass():
    try_export(TRANSLATION, small_translators.CONFIGS["m2m_100"](), INPUTS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CanineConfig(**SIZES), "canine cannot be exported (Constraints violated"),
        (MBartConfig(**_SIDES), "mbart cannot be exported"),
        (
            XmodConfig(**SIZES, languages=["en_XX", "de_DE"], default_language="en_XX"),
            "xmod cannot be exported (ONNX Runtime cannot run its graph",
        ),
    ],
    ids=["canine", "mbart", "xmod"],
)
def test_others_are_refused_by_name(config, message: str):
    with pytest.raises(CompressError) as caught:
        try_export(CLASSIFICATION, config, INPUTS)
    assert message in str(caught.value)
    assert "; name a model of another architecture, such as XLM-R, BERT" in str(caught.value)
    assert "\n" not in str(caught.value)
