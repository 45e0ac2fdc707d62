"""What a reranker's one output is made a score by, as sentence-transformers keeps it.

Its configuration is given it as versions from 4 on read it, so that a student's folder opens there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.files import json_object
from compress.models.sentence_folder import modules_of
from compress.models.source import StrPath
from compress.tasks.contract import Activation

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_SETTINGS, _TRANSFORMER_SETTINGS = "config_sentence_transformers.json", "sentence_bert_config.json"
_ATTRIBUTE, _OLD_ATTRIBUTE, _KEY = "sentence_transformers", "sbert_ce_default_activation_function", "activation_fn"
_CLASSES: Mapping[Activation, str] = {
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "identity": "torch.nn.modules.linear.Identity",
}


def is_reranker(name: StrPath, config: PreTrainedConfig) -> bool:
    """Whether a folder is a CrossEncoder's of sentence-transformers, of any version."""
    told = getattr(config, _ATTRIBUTE, None)
    return (
        json_object(Path(name) / _SETTINGS).get("model_type") == "CrossEncoder"
        or getattr(config, _OLD_ATTRIBUTE, None) is not None
        or (isinstance(told, Mapping) and _KEY in told)
    )


def take_activation(name: StrPath, config: PreTrainedConfig) -> None:
    """Let the configuration of a model from elsewhere say its activation in the one place where it is looked for.

    :raises CompressError: If it is none that keeps the order of scores, or the folder asks for more than a transformer.
    """
    listed = [(str(module["type"]).rpartition(".")[2], module.get("path", "")) for module in modules_of(name)]
    if listed not in ([], [("Transformer", "")]):
        told = ", ".join(f"{kind} in {place}" if place else kind for kind, place in listed)
        raise CompressError(
            f"{name}: its scores are made by {told} (modules.json); a reranker here is a transformer beside it, with a "
            "head of one output: name another"
        )
    settings = json_object(Path(name) / _SETTINGS)
    if default := settings.get("default_prompt_name"):
        raise CompressError(
            f"{name}: its {_SETTINGS} puts the prompt '{default}' before queries; take default_prompt_name out of a "
            "copy of it, and say the prompt in data.prefix"
        )
    if json_object(Path(name) / _TRANSFORMER_SETTINGS).get("do_lower_case"):
        raise CompressError(f"{name}: do_lower_case in its {_TRANSFORMER_SETTINGS} is not supported; name another")
    told = settings.get(_KEY) or _told_by(config) or _CLASSES["sigmoid"]
    library, _, own = str(told).rpartition(".")
    found = next((kind for kind, path in _CLASSES.items() if own == path.rpartition(".")[2]), None)
    if found is None or not f"{library}.".startswith("torch.nn."):
        raise CompressError(
            f"{name}: its activation is {told!s:.100}; rerankers have Sigmoid or Identity of PyTorch: name another"
        )
    keep_activation(config, found)


def keep_activation(config: PreTrainedConfig, activation: Activation) -> None:
    """Let a configuration have this one."""
    if hasattr(config, _OLD_ATTRIBUTE):
        delattr(config, _OLD_ATTRIBUTE)
    setattr(config, _ATTRIBUTE, {_KEY: _CLASSES[activation]})


def activation_of(config: PreTrainedConfig) -> Activation:
    """That which a configuration has been given."""
    return _named(getattr(config, _ATTRIBUTE, None))


def activation_in(folder: Path) -> Activation:
    """The same of a model's folder, without transformers."""
    return _named(json_object(folder / "config.json").get(_ATTRIBUTE))


def _named(told: Any) -> Activation:
    path = told.get(_KEY) if isinstance(told, Mapping) else None
    return next((kind for kind, known in _CLASSES.items() if known == path), "sigmoid")


def _told_by(config: PreTrainedConfig) -> str | None:
    told = getattr(config, _ATTRIBUTE, None)
    return (told or {}).get(_KEY) if isinstance(told, Mapping) else getattr(config, _OLD_ATTRIBUTE, None)
