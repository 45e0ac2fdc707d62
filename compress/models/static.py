"""Static models: a table of token vectors, their mean at length one and, to classify, a linear layer (model2vec).

What a token weighs is the length of its vector; special tokens, and those that are not known, weigh nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from compress.models.pooling import STATIC


class StaticConfig(PreTrainedConfig):
    """The sizes of a static model, and the tokens that weigh nothing."""

    model_type = STATIC

    def __init__(
        self, vocab_size: int = 1, hidden_size: int = 1, weightless: list[int] | None = None, **others: Any
    ) -> None:
        self.vocab_size, self.hidden_size, self.weightless = vocab_size, hidden_size, weightless or []
        self.num_hidden_layers, self.num_attention_heads = 0, 1
        super().__init__(**others)


class StaticBase(PreTrainedModel):
    """What both share: the table."""

    config_class = StaticConfig
    base_model_prefix = "static"

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.embeddings: nn.Module = nn.Embedding(config.vocab_size, config.hidden_size)

    def get_input_embeddings(self) -> nn.Module:
        """The table."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Exchange the table."""
        self.embeddings = value

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding | nn.Linear):
            nn.init.normal_(module.weight)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def vectors_of(self, input_ids: Tensor) -> Tensor:
        """Token vectors, float (rows, tokens, width); in training nothing is learnt by those that weigh nothing."""
        vectors: Tensor = self.embeddings(input_ids)
        if self.training and self.config.weightless:
            weightless = torch.tensor(self.config.weightless, device=input_ids.device)
            vectors = vectors.masked_fill(torch.isin(input_ids, weightless)[:, :, None], 0.0)
        return vectors


class StaticModel(StaticBase):
    """Token vectors: the body of what gives vectors of texts."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.vectors_of(input_ids))


class StaticForSequenceClassification(StaticBase):
    """Classes of texts by the mean of their token vectors, at length one."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.num_labels = len(config.id2label or {})
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False
    ) -> SequenceClassifierOutput:
        vectors = self.vectors_of(input_ids)
        summed = torch.bmm(attention_mask.to(vectors.dtype)[:, None, :], vectors)[:, 0]
        return SequenceClassifierOutput(logits=self.classifier(functional.normalize(summed, dim=-1)))


@functools.cache
def register_static() -> None:
    """Let transformers' ``Auto`` classes know these classes, in this process."""
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    AutoConfig.register(STATIC, StaticConfig)
    AutoModel.register(StaticConfig, StaticModel)
    AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification)
