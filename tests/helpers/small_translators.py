"""Configurations of encoder-decoder models that are built in milliseconds, and their graphs, which take seconds."""

from pathlib import Path

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
_SEEDS = {"marian": 1, "m2m_100": 2, "mt5": 0, "t5": 1}
"""With these, translations end now and then."""


def write_exported(name: str, folder: Path) -> None:
    """A model whose weights all matter, and its plain graphs."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    from export.onnx.seq2seq import seq2seq_graphs
    from export.onnx.weights import save_graphs

    torch.manual_seed(_SEEDS[name])
    config = CONFIGS[name]()
    config.use_cache = False  # as the library's trainer leaves it
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():  # new ones are small
            if weights.dim() == 1:
                weights.add_(torch.randn_like(weights), alpha=0.2)
            elif weights.requires_grad:  # positions that are no weights are not saved
                weights.normal_(0, 0.2)
    model.save_pretrained(folder)
    graphs = seq2seq_graphs(model)
    save_graphs(list(graphs), graphs.__getitem__, folder)
