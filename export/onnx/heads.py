"""Heads that read what a decoder says at the end of a text (T5's): found by its place, as graphs can do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def reads_at_the_end(model: Any) -> bool:
    """Whether it is such a model."""
    return hasattr(model, "classification_head") and hasattr(model, "_shift_right")


@contextmanager
def head_at_the_end(model: Any) -> Iterator[None]:
    """Let such a model compute the same without choosing rows by a mask while the block runs; others stay as they are.

    The libraries' models choose what is said at all ends of a batch's texts and divide that among them, which the
    exporter can do for one length alone.
    """
    if not reads_at_the_end(model):
        yield
        return
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    body = getattr(model, model.base_model_prefix)

    def forward(input_ids: Any, attention_mask: Any = None) -> Any:
        read = model._shift_right(input_ids)
        said = body(input_ids, attention_mask=attention_mask, decoder_input_ids=read, use_cache=False)[0]
        ends = input_ids.eq(model.config.eos_token_id).int() * torch.arange(input_ids.shape[1])
        last = ends.argmax(dim=1)[:, None, None].expand(-1, 1, said.shape[-1])
        return SequenceClassifierOutput(logits=model.classification_head(said.gather(1, last)[:, 0]))

    model.forward = forward
    try:
        yield
    finally:
        del model.forward
