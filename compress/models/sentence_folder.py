"""How token vectors become one of the text, as sentence-transformers keeps it: ``modules.json`` and what it names.

What is there is used or refused in one line: nothing is left out silently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from compress.contract import Contract
from compress.errors import CompressError, first_line, first_problem
from compress.files import json_object, read_limited
from compress.models.source import StrPath
from compress.recipe.data import Data
from compress.recipe.teacher import PoolingMode, Similarity, Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MODULES = "modules.json"
_LIBRARY = "sentence_transformers."
SETTINGS, TRANSFORMER_SETTINGS = "config_sentence_transformers.json", "sentence_bert_config.json"
TOKENIZER_SETTINGS = "tokenizer_config.json"
_ATTRIBUTE = "sentence_embedding"
"""What a configuration calls it."""
MODES: Mapping[str, PoolingMode] = {
    "cls": "first",
    "lasttoken": "last",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean-sqrt",
    "weightedmean": "weighted-mean",
}
"""The names of sentence-transformers, in the order in which several are put side by side, and ours."""
OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LARGEST = 16_000_000  # bytes of a description
_WIDEST = 65_536  # numbers of a vector
_NO_LENGTH = 1_000_000  # tokenizers that know none say a far larger number
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")
_IN_ORDINARY = {"model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs"}


class SentenceModule(Contract):
    """One step from token vectors to the vector of a text; ``folder`` has its weights, where it has some."""

    kind: Literal["Pooling", "Dense", "Normalize", "LayerNorm"]
    modes: list[PoolingMode] = Field(default_factory=list, description="of pooling: several stand side by side")
    width: int = Field(0, ge=0, le=_WIDEST)
    out: int = Field(0, ge=0, le=_WIDEST)
    bias: bool = False
    activation: str = "Identity"
    folder: str | None = None


class SentenceHead(Contract):
    """All steps, and what else sentence-transformers keeps of a model."""

    modules: list[SentenceModule]
    prompts: dict[str, str] = Field(default_factory=dict)
    default_prompt: str | None = None
    similarity: Similarity | None = None
    max_length: int | None = Field(None, gt=0)

    @property
    def normalizes(self) -> bool:
        """Whether vectors have length one."""
        return self.modules[-1].kind == "Normalize"

    def dimensions(self, width: int) -> int:
        """Numbers of a vector.

        :param width: Of the transformer.
        """
        for module in self.modules:
            width = width * len(module.modes) if module.kind == "Pooling" else module.out or width
        return width


def head_of(config: PreTrainedConfig) -> SentenceHead:
    """The head that a configuration has been given.

    :raises CompressError: If there is none, or not as it must be.
    """
    told = getattr(config, _ATTRIBUTE, None)
    if told is None:
        raise CompressError(f"{config.model_type}: its config.json does not say how token vectors become one")
    try:
        return SentenceHead.model_validate(told)
    except ValidationError as error:
        raise CompressError(
            f"config.json: {_ATTRIBUTE} is not as it must be: {first_problem(error)}; make the folder again"
        ) from error


def has_head(config: PreTrainedConfig) -> bool:
    """Whether a configuration is of a model that gives vectors."""
    return getattr(config, _ATTRIBUTE, None) is not None


def keep_head(config: PreTrainedConfig, head: SentenceHead) -> None:
    """Let a configuration have this one."""
    setattr(config, _ATTRIBUTE, head.model_dump(mode="json"))


def take_over(config: PreTrainedConfig, data: Data, teacher: Teacher) -> None:
    """Let a configuration say what the recipe says of prompts, length and comparing.

    :raises CompressError: If the recipe leaves open what the model tells: texts were read without its prompts.
    """
    head = head_of(config)
    if (head.prompts and data.prompts is None) or (head.similarity and teacher.embedding.similarity is None):
        raise CompressError(
            f"{teacher.model}: it has prompts ({', '.join(head.prompts) or 'none'}) and compares by "
            f"{head.similarity or 'cosine'}; say so in data.prompts and teacher.embedding.similarity, or say others"
        )
    if head.max_length and data.max_length > head.max_length:
        raise CompressError(
            f"data.max_length: {data.max_length} tokens are more than the {head.max_length} that {teacher.model} is "
            "read with (max_seq_length)"
        )
    told = {"prompts": data.prompts or {}, "default_prompt": data.default_prompt, "max_length": data.max_length}
    keep_head(config, head.model_copy(update={**told, "similarity": teacher.embedding.compared_by}))


def has_modules(name: StrPath) -> bool:
    """Whether a model's folder says how token vectors become one."""
    path = Path(name) / MODULES
    return path.exists() or path.is_symlink()


def gives_vectors(name: StrPath) -> bool:
    """Whether sentence-transformers keeps a model that gives a vector a text in a folder."""
    kind = json_object(Path(name) / SETTINGS).get("model_type")
    return has_modules(name) and kind in (None, "SentenceTransformer")


def read_head(name: StrPath, settings: Teacher, config: PreTrainedConfig) -> SentenceHead:
    """The head of a model from elsewhere, by its modules or, where it has none, by the recipe.

    :param config: Of the transformer.
    :raises CompressError: If something of it is not known here, or nobody says how tokens are pooled.
    """
    if config.is_encoder_decoder:
        raise CompressError(f"{name}: {config.model_type} writes too; a model that gives vectors has an encoder alone")
    wanted, width = settings.embedding, config.hidden_size
    if has_modules(name):
        if settings.pooling:
            raise CompressError(f"teacher.pooling: {name} says it in its {MODULES}; leave it out")
        try:
            head = _folders_head(name, width)
        except (TypeError, AttributeError, LookupError, ValueError) as error:
            raise CompressError(
                f"{name}: what its {MODULES} names is not as sentence-transformers writes it ({first_line(error)}); "
                "copy it again"
            ) from error
    elif settings.pooling:
        modes = settings.pooling if isinstance(settings.pooling, list) else [settings.pooling]
        head = SentenceHead(modules=[SentenceModule(kind="Pooling", modes=modes)])
    else:
        raise CompressError(
            f"{name}: it has no {MODULES} and does not say how token vectors become one; name what it was trained "
            "with: teacher.pooling: mean, first, …"
        )
    _check_widths(name, head, width)
    modules, unit = list(head.modules), [SentenceModule(kind="Normalize")]
    normalize = wanted.normalize if wanted.normalize is not None else (head.normalizes or not has_modules(name))
    if wanted.dimensions:
        before = head.dimensions(width)
        if wanted.dimensions > before:
            raise CompressError(
                f"teacher.embedding.dimensions: {wanted.dimensions} are more than the {before} of {name}"
            )
        # Cut before length one is given back: so every reader of the folder gets vectors of length one.
        modules = [module for place, module in enumerate(modules) if place + 1 < len(modules) or not head.normalizes]
        modules.append(SentenceModule(kind="Dense", width=before, out=wanted.dimensions))
    if head.normalizes and not normalize:
        modules = [module for module in modules if module.kind != "Normalize"]
    if normalize and modules[-1].kind != "Normalize":
        modules += unit
    return head.model_copy(update={"modules": modules, "similarity": wanted.similarity or head.similarity})


def _check_widths(name: StrPath, head: SentenceHead, width: int) -> None:
    for place, module in enumerate(head.modules):
        given = SentenceHead(modules=head.modules[:place]).dimensions(width)
        if module.width not in (0, given):
            raise CompressError(
                f"{name}: its {module.kind} reads {module.width} numbers of a text and is given {given}; copy its "
                "folders again"
            )


def _folders_head(name: StrPath, width: int) -> SentenceHead:
    folder = Path(name)
    if not gives_vectors(name):
        kind = json_object(folder / SETTINGS)["model_type"]
        raise CompressError(f"{name}: its {SETTINGS} says that it is a {kind}, which gives no vectors of texts")
    listed = [(str(module["type"]).rpartition(".")[2], str(module.get("path", ""))) for module in modules_of(name)]
    if not listed or listed[0][0] != "Transformer":
        raise CompressError(f"{name}: its {MODULES} begins with {listed[0][0] if listed else 'nothing'}, and only a "
                            "Transformer can be exported; name a model with one")  # fmt: skip
    if listed[0][1]:
        raise CompressError(
            f"{name}: its transformer lies in {listed[0][1]}; save it again with sentence-transformers 5 or later, "
            "which puts it beside modules.json"
        )
    modules = []
    for kind, place in listed[1:]:
        modules += _module(name, kind, place)
    kinds = [module.kind for module in modules]
    if "Pooling" not in kinds:
        raise CompressError(f"{name}: its {MODULES} has no Pooling: it gives a vector a token, and none a text")
    if kinds[0] != "Pooling" or kinds.count("Pooling") > 1:
        raise CompressError(
            f"{name}: its {MODULES} has {', '.join(kinds)}; what comes behind the transformer must begin with the one "
            "Pooling: name another model"
        )
    told, transformer = (json_object(folder / file) for file in (SETTINGS, TRANSFORMER_SETTINGS))
    _check_transformer(name, transformer)
    prompts, default = told.get("prompts") or {}, told.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CompressError(
            f"{name}: its {SETTINGS} names the default prompt {default!r:.100}, and there is none of that name; put it "
            "into prompts, or take default_prompt_name out"
        )
    head = _checked(name, {
        "modules": modules,
        "prompts": {key: text for key, text in prompts.items() if text != ""},
        "default_prompt": default,
        "similarity": told.get("similarity_fn_name"),
        "max_length": transformer.get("max_seq_length") or _tokens_of_tokenizer(folder),
    })  # fmt: skip
    pooling = next(place for kind, place in listed if kind == "Pooling")
    if head.prompts and json_object(folder / pooling / "config.json").get("include_prompt") is False:
        raise CompressError(f"{name}: its pooling leaves prompts out (include_prompt: false), which graphs cannot; "
                            "name a model that pools them too")  # fmt: skip
    return head if told.get("truncate_dim") is None else _cut(name, head, told["truncate_dim"], width)


def _cut(name: StrPath, head: SentenceHead, dimensions: int, width: int) -> SentenceHead:
    """With what the folder cuts off in the end: a product with the first rows of the unit matrix."""
    before = head.dimensions(width)
    if dimensions > before:
        raise CompressError(f"{name}: its truncate_dim {dimensions} is more than the {before} dimensions that it has")
    if dimensions < 1:
        raise CompressError(f"{name}: its truncate_dim {dimensions} leaves nothing of its vectors; take it out")
    cut = SentenceModule(kind="Dense", width=before, out=dimensions)
    return head.model_copy(update={"modules": [*head.modules, cut]})


def _module(name: StrPath, kind: str, place: str) -> list[SentenceModule]:
    path = Path(name) / place / "config.json"
    if kind in ("Pooling", "Dense", "LayerNorm") and not path.is_file():
        raise CompressError(f"{path}: missing, though {MODULES} names its folder; copy it too")
    told = json_object(path)
    for key in ("module_input_name", "module_output_name"):
        if told.get(key) not in (None, "sentence_embedding"):
            raise CompressError(
                f"{name}: {place} works on {told[key]!s:.100}, only the vectors of texts can be exported"
            )
    match kind:
        case "Pooling":
            old_modes = [new for old, new in OLD_MODES.items() if told.get(old)] or "mean"
            named = told.get("pooling_mode", old_modes)
            modes = [named] if isinstance(named, str) else named
            if not modes or not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
                raise CompressError(f"{path}: its pooling_mode {named!r:.100} is no list of names; copy it again")
            asked = {*modes}
            asked |= {key for key in told if key.startswith("pooling_mode_") and told[key] and key not in OLD_MODES}
            if strange := sorted(asked - {*MODES}):
                raise CompressError(
                    f"{name}: its pooling '{strange[0]:.100}' is not known; it may be {', '.join(MODES)}"
                )
            return [SentenceModule(kind="Pooling", modes=[MODES[mode] for mode in modes])]
        case "Dense":
            if told.get("use_residual"):
                raise CompressError(f"{name}: its {place} adds what it reads (use_residual), which is not known here")
            told_activation = str(told.get("activation_function", "Tanh"))
            library, _, activation = told_activation.rpartition(".")
            if activation not in _ACTIVATIONS or not f"{library}.".startswith((".", "torch.nn.")):
                raise CompressError(
                    f"{name}: the activation {told_activation:.100} of its {place} is not known; it may be "
                    f"{', '.join(_ACTIVATIONS)}"
                )
            found = {"width": told.get("in_features"), "out": told.get("out_features"), "bias": told.get("bias", True)}
            return [_checked_module(name, {"kind": kind, **found, "activation": activation, "folder": place})]
        case "LayerNorm":
            width = told.get("dimension")
            return [_checked_module(name, {"kind": kind, "width": width, "out": width, "folder": place})]
        case "Normalize":
            return [SentenceModule(kind="Normalize")]
        case "Dropout":  # does nothing outside of training
            return []
    raise CompressError(
        f"{name}: its {MODULES} names {kind}, which is not known here; Pooling, Dense, LayerNorm and Normalize are"
    )


def _check_transformer(name: StrPath, told: Mapping[str, Any]) -> None:
    if told.get("do_lower_case"):
        raise CompressError(
            f"{name}: its {TRANSFORMER_SETTINGS} has text put into small letters before its tokenizer reads it; let "
            "the tokenizer do that (a Lowercase normaliser in tokenizer.json) and set do_lower_case: false"
        )
    for key in sorted(_IN_ORDINARY & told.keys()):
        if told[key]:
            raise CompressError(f"{name}: {key} in its {TRANSFORMER_SETTINGS} cannot be followed; save it without")


def _tokens_of_tokenizer(folder: Path) -> int | None:
    """Where sentence-transformers from 6 on keeps how long texts may be."""
    told = json_object(folder / TOKENIZER_SETTINGS).get("model_max_length")
    return int(told) if isinstance(told, int | float) and told < _NO_LENGTH else None


def _checked(name: StrPath, content: Mapping[str, Any]) -> SentenceHead:
    try:
        return SentenceHead.model_validate(content)
    except ValidationError as error:
        raise CompressError(f"{name}: its {SETTINGS} is not as it must be: {first_problem(error)}") from error


def _checked_module(name: StrPath, content: Mapping[str, Any]) -> SentenceModule:
    try:
        return SentenceModule.model_validate(content)
    except ValidationError as error:
        place = content.get("folder") or "1_Pooling"
        raise CompressError(f"{name}: {place}/config.json is not as it must be: {first_problem(error)}") from error


def modules_of(name: StrPath) -> Sequence[Mapping[str, Any]]:
    """What a folder's ``modules.json`` lists; nothing where it has none.

    :raises CompressError: If it is no list of sentence-transformers' own modules, in the folder.
    """
    path = Path(name) / MODULES
    if not has_modules(name):
        return []
    try:
        content = json.loads(read_limited(path, _LARGEST))
        if not isinstance(content, list) or not all(isinstance(module["type"], str) for module in content):
            raise ValueError("a module has no type")
        if not all(isinstance(module.get("path", ""), str) for module in content):
            raise ValueError("a module has no path")
        if foreign := [module["type"] for module in content if not module["type"].startswith(_LIBRARY)]:
            raise ValueError(f"{foreign[0]!r:.100} is code of its own, which is never run")
        places = [Path(module.get("path", "")) for module in content]
        if any(place.is_absolute() or ".." in place.parts for place in places):
            raise ValueError("it names a folder that is elsewhere")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CompressError(
            f"{name}: its {MODULES} is no list of modules ({first_line(error)}); copy it again"
        ) from error
    found: Sequence[Mapping[str, Any]] = content
    return found
