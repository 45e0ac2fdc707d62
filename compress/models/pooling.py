"""Classifiers that read the mean of a text's tokens, for encoders whose own classifiers read the first token.

Embedding models (E5, BGE, LaBSE …) are trained so that the mean of their tokens means something; no class of
transformers classifies it for a body of BERT's kind (Reimers & Gurevych, 2019). These do: the body under its usual
name, and a linear layer. Their configurations have a ``model_type`` of their own, so that whoever does not know them
cannot take them for the usual ones without a word; graphs carry the pooling, and the usual ``model_type`` beside them.
"""

from __future__ import annotations

import functools
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compress.errors import CompressError
from compress.models.checks import sentence_modules
from compress.models.source import StrPath

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

Pooling = Literal["first", "mean"]

_BODIES = ("bert", "camembert", "deberta-v2", "distilbert", "electra", "roberta", "xlm-roberta")
"""Of which classes that classify the mean are made here."""
_MEAN = "mean-pooled-"
STATIC = "static-embedding"
"""The ``model_type`` of static models (`compress.models.static`)."""
_OWN = {"modernbert": {"first": "cls", "mean": "mean"}, "eurobert": {"first": "bos", "mean": "mean"}}
"""Architectures that have the choice themselves, and what they call it (``classifier_pooling``)."""
_SEQUENCE_CLASSIFIERS = "AutoModelForSequenceClassification"


def with_pooling(config: PreTrainedConfig, name: StrPath, wanted: Pooling | None, auto_class: str) -> PreTrainedConfig:
    """The configuration of a classifier that is to be trained and reads the first token or the mean of all.

    :param name: The model's folder; where nothing is wanted, the mean is taken if its ``modules.json`` says so.
    :param auto_class: Of transformers, that loads the task's models.
    :raises CompressError: If no such class is known for the architecture.
    """
    if auto_class != _SEQUENCE_CLASSIFIERS:
        return config
    kind = config.model_type
    known = kind in _OWN or kind in _BODIES or kind.startswith(_MEAN)
    if wanted is None:
        if not (known and told_to_take_mean(name)):
            return config
        wanted = "mean"
    if kind in _OWN:
        config.classifier_pooling = _OWN[kind][wanted]
        return config
    if reads_mean(config) == (wanted == "mean"):
        return config
    if not known or wanted == "first":
        raise CompressError(
            f"teacher.pooling: {wanted} cannot be had of {name} ({kind}); leave it out, or name a model of one of: "
            + ", ".join(sorted((*_OWN, *_BODIES)))
        )
    changed: PreTrainedConfig = _config_class(kind).from_dict({**config.to_dict(), "model_type": _MEAN + kind})
    return changed


def reads_mean(config: PreTrainedConfig) -> bool:
    """Whether a classifier with this configuration reads the mean of all tokens."""
    return config.model_type.startswith(_MEAN) or getattr(config, "classifier_pooling", None) == "mean"


def told_to_take_mean(name: StrPath) -> bool:
    """Whether the modules of a sentence-transformers model take the mean of its tokens, and do no more that counts."""
    if [kind for kind in sentence_modules(name) if kind != "Normalize"] != ["Pooling"]:
        return False
    folder = Path(name)
    try:
        modules = json.loads((folder / "modules.json").read_bytes())
        place = next(module["path"] for module in modules if str(module["type"]).endswith(".Pooling"))
        told = json.loads((folder / place / "config.json").read_bytes())
        chosen = [key for key, value in told.items() if key.startswith("pooling_mode_") and value]
        return (told.get("pooling_mode") or chosen) in ("mean", ["mean"], ["pooling_mode_mean_tokens"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False  # that the pooling is left out is said


def usual_config(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a ``config.json`` for a graph, which has the pooling inside: as other libraries know it."""
    kind = str(content.get("model_type", ""))
    if kind == STATIC:  # they ask whether they know it, and nothing else, as the graph has all
        return {**content, "model_type": "bert", "architectures": ["BertModel"]}
    if not kind.startswith(_MEAN):
        return content
    named = [str(name).removeprefix("MeanPooled") for name in content.get("architectures") or []]
    return {**content, "model_type": kind.removeprefix(_MEAN), "architectures": named, "classifier_pooling": "mean"}


@functools.cache
def register_mean_pooled() -> None:
    """Let transformers' ``Auto`` classes know these classes, and static models, in this process."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from compress.models.static import register_static

    register_static()
    for kind in _BODIES:
        AutoConfig.register(_MEAN + kind, _config_class(kind))
        AutoModelForSequenceClassification.register(_config_class(kind), _model_class(kind))


def mean_pooled_class(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """The class of a model with this configuration, if it is one of those made here."""
    kind = config.model_type
    return _model_class(kind.removeprefix(_MEAN)) if kind.startswith(_MEAN) else None


@functools.cache
def _config_class(kind: str) -> Any:
    from transformers import CONFIG_MAPPING

    usual = CONFIG_MAPPING[kind]
    return type(f"MeanPooled{usual.__name__}", (usual,), {"model_type": _MEAN + kind, "__module__": __name__})


@functools.cache
def _model_class(kind: str) -> type[PreTrainedModel]:
    """The class that classifies the mean of an architecture's tokens.

    :param kind: The architecture's ``model_type``.
    """
    from torch import nn
    from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_MAPPING
    from transformers.modeling_outputs import SequenceClassifierOutput

    from compress.models.outputs import mean_pooled

    usual: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[CONFIG_MAPPING[kind]]
    body: Any = MODEL_MAPPING[CONFIG_MAPPING[kind]]
    without_pooler = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(body).parameters else {}
    parent = usual.__mro__[1]  # what the architecture's models share: initial values, kinds of attention

    def create(self: Any, config: Any) -> None:
        parent.__init__(self, config)
        self.num_labels = config.num_labels
        setattr(self, self.base_model_prefix, body(config, **without_pooler))
        self.dropout = nn.Dropout(_dropout(config))
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self: Any, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **options: Any
    ) -> SequenceClassifierOutput:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        return untyped(self, input_ids, attention_mask, **types, **options)

    def untyped(self: Any, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> SequenceClassifierOutput:
        found = getattr(self, self.base_model_prefix)(input_ids=input_ids, attention_mask=attention_mask, **options)
        logits = self.score(self.dropout(mean_pooled(found.last_hidden_state, attention_mask)))
        return SequenceClassifierOutput(logits=logits, hidden_states=found.hidden_states, attentions=found.attentions)

    own = {
        "__init__": create,
        "forward": forward if "token_type_ids" in inspect.signature(body.forward).parameters else untyped,
        "config_class": _config_class(kind),
        "__module__": __name__,
    }
    made: type[PreTrainedModel] = type(f"MeanPooled{usual.__name__}", (parent,), own)
    return made


def _dropout(config: PreTrainedConfig) -> float:
    """What the architecture's own classifier drops of what it reads."""
    names = ("classifier_dropout", "cls_dropout", "seq_classif_dropout", "hidden_dropout_prob")
    return float(next(value for name in names if (value := getattr(config, name, None)) is not None))
