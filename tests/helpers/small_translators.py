"""Configurations of encoder-decoder models that are built in milliseconds."""

from transformers import M2M100Config, MarianConfig, MT5Config, T5Config

PAD, END, TOKENS = 0, 3, 14
_SIZES = {
    "vocab_size": TOKENS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "eos_token_id": END,
}
_T5 = {
    "vocab_size": TOKENS,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "decoder_start_token_id": PAD,
}
CONFIGS = {
    "marian": lambda: MarianConfig(**_SIZES, decoder_start_token_id=PAD, forced_eos_token_id=None),
    "m2m_100": lambda: M2M100Config(**_SIZES, decoder_start_token_id=END),
    "mt5": lambda: MT5Config(**_T5),
    "t5": lambda: T5Config(**_T5),
}
