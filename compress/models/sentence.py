"""A model that gives a vector a text: a transformer and, in the order of its folder, pooling and what comes after."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.errors import CompressError
from compress.models.outputs import pooled
from compress.models.sentence_folder import SentenceModule, head_of, keep_head
from compress.models.sentence_layout import module_folder, write_head

_WEIGHTS = "model.safetensors"


class SentenceEncoder(nn.Module):
    """What `transformers` calls a model, with a head that its configuration describes.

    It gives ``sentence_embedding``, float (rows, dimensions), and what this is made of, ``last_hidden_state``, float
    (rows, tokens, width), for clients of its graph that pool by themselves. Weights of Dense and LayerNorm are new
    until `load_head`.
    """

    base_model_prefix = "body"

    def __init__(self, config: Any, body: Any = None, **code: Any):
        """:param code: What `transformers` is told of the model's own code, where there is no ``body`` yet."""
        super().__init__()
        from transformers import AutoModel

        self.body = AutoModel.from_config(config, **code) if body is None else body
        self.config = self.body.config
        if getattr(self.body, "pooler", None) is not None:  # of another task: nothing here reads it
            self.body.pooler = None
        self.head = nn.ModuleList(_made(module) for module in head_of(config).modules)
        self._accepted = {*inspect.signature(self.body.forward).parameters}

    @classmethod
    def from_config(cls, config: Any, **code: Any) -> SentenceEncoder:
        """A new one."""
        return cls(config, **code)

    @classmethod
    def from_pretrained(
        cls, folder: Path, config: Any = None, output_loading_info: bool = False, **options: Any
    ) -> Any:
        """As the ``Auto`` classes do it: the model and, if asked for, what they say of the transformer's weights."""
        from transformers import AutoConfig, AutoModel

        trusted = options.get("trust_remote_code", False)
        config = config or AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
        body, told = AutoModel.from_pretrained(folder, config=config, output_loading_info=True, **options)
        told["missing_keys"] = {key for key in told["missing_keys"] if not key.startswith("pooler.")}
        model = cls(config, body)
        model.load_head(folder)
        return (model, told) if output_loading_info else model

    @property
    def base_model(self) -> nn.Module:
        """The transformer."""
        return cast("nn.Module", self.body)

    @property
    def accepted(self) -> set[str]:
        """Names of the inputs that the transformer knows."""
        return self._accepted

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> dict[str, Any]:
        types = {"token_type_ids": token_type_ids} if "token_type_ids" in self._accepted else {}
        given: dict[str, Any] = {name: tensor for name, tensor in types.items() if tensor is not None}
        if output_hidden_states:
            given["output_hidden_states"] = True
        said = self.body(input_ids=input_ids, attention_mask=attention_mask, **given)
        vectors = said.last_hidden_state
        for module in self.head:
            vectors = module(vectors, attention_mask) if isinstance(module, Pooling) else module(vectors)
        states = {"hidden_states": said.hidden_states} if output_hidden_states else {}
        return {"sentence_embedding": vectors, "last_hidden_state": said.last_hidden_state, **states}

    def load_head(self, folder: Path) -> None:
        """Take the head's weights from a folder of sentence-transformers.

        :raises CompressError: If they are missing, pickled, or of another shape.
        """
        from safetensors.torch import load_file

        for told, module in zip(head_of(self.config).modules, self.head, strict=True):
            if told.folder is None:
                continue
            path = Path(folder) / told.folder / _WEIGHTS
            if not path.is_file():
                pickled = (path.parent / "pytorch_model.bin").is_file()
                raise CompressError(
                    f"{path}: missing{', and pickled weights can run code' if pickled else ''}; save the model again "
                    "with safe_serialization"
                )
            try:
                kind = self.body.dtype
                module.load_state_dict({key: value.to(kind) for key, value in load_file(path).items()})
            except Exception as error:  # of safetensors, and of PyTorch
                raise CompressError(f"{path}: not the weights that its config.json tells of; copy it again") from error

    def save_folder(self, folder: Path) -> None:
        """Write what transformers and sentence-transformers open alike."""
        from safetensors.torch import save_file

        head, modules = head_of(self.config), []
        for number, (told, module) in enumerate(zip(head.modules, self.head, strict=True), 1):
            weights = {key: value.detach().contiguous() for key, value in module.state_dict().items()}
            place = module_folder(number, told)
            if weights:
                (folder / place).mkdir()
                save_file(weights, folder / place / _WEIGHTS, {"format": "pt"})
            modules.append(told.model_copy(update={"folder": place if weights else None}))
        head = head.model_copy(update={"modules": modules})
        keep_head(self.config, head)
        self.body.save_pretrained(folder)
        write_head(folder, head, self.config.hidden_size)

    def get_input_embeddings(self) -> nn.Module:
        """The table of token embeddings."""
        return cast("nn.Module", self.body.get_input_embeddings())

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Exchange the table of token embeddings."""
        self.body.set_input_embeddings(table)

    def get_output_embeddings(self) -> None:
        """It writes nothing."""

    def set_attn_implementation(self, name: str) -> None:
        """As transformers' models have it."""
        self.body.set_attn_implementation(name)

    def can_generate(self) -> bool:
        """It reads only."""
        return False

    @property
    def dtype(self) -> torch.dtype:
        """Of the transformer's weights."""
        return cast("torch.dtype", self.body.dtype)

    @property
    def device(self) -> torch.device:
        """Where the transformer's weights lie."""
        return cast("torch.device", self.body.device)


class Pooling(nn.Module):
    """From token vectors to those of texts, of several kinds side by side."""

    def __init__(self, module: SentenceModule):
        super().__init__()
        self._modes = module.modes

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([pooled(states, mask, mode) for mode in self._modes], dim=-1)


class Dense(nn.Module):
    """A linear layer and an activation; new weights cut a vector off, or leave it as it is."""

    def __init__(self, module: SentenceModule):
        super().__init__()
        self.linear = nn.Linear(module.width, module.out, bias=module.bias)
        self.activation_function = getattr(nn, module.activation)()
        with torch.no_grad():
            nn.init.eye_(self.linear.weight)
            if module.bias:
                nn.init.zeros_(self.linear.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        found: Tensor = self.activation_function(self.linear(vectors))
        return found


class LayerNorm(nn.Module):
    """A normalisation with the names of sentence-transformers."""

    def __init__(self, module: SentenceModule):
        super().__init__()
        self.norm = nn.LayerNorm(module.width)

    def forward(self, vectors: Tensor) -> Tensor:
        found: Tensor = self.norm(vectors)
        return found


class Normalize(nn.Module):
    """Vectors of length one."""

    def forward(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors, p=2, dim=-1)


def _made(module: SentenceModule) -> nn.Module:
    if module.kind == "Normalize":
        return Normalize()
    kinds: dict[str, Any] = {"Pooling": Pooling, "Dense": Dense, "LayerNorm": LayerNorm}
    made: nn.Module = kinds[module.kind](module)
    return made
