"""Loading a model and its tokenizer from a folder or the hub, and saving tokenizers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError, first_line
from compress.memory import check_memory
from compress.models.checks import (
    Loading,
    check_complete,
    check_files,
    check_finite,
    check_head,
    check_reads,
    check_types,
    sentence_modules,
)
from compress.models.describe import head_names, label_maps, label_names
from compress.models.pooling import register_mean_pooled, with_pooling
from compress.models.reranker import is_reranker, keep_activation, take_activation
from compress.models.sentence_folder import keep_head, read_head
from compress.models.source import Source, StrPath, fetch
from compress.models.tokenizer_of_file import as_its_file_says, names_class
from compress.models.tokenizers import sentencepiece_problem
from compress.recipe.teacher import Precision, Teacher
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_VOCABULARIES = ("tokenizer.json", "vocab*", "*.model", "*.txt", "*.tiktoken")
_TOKENIZER_CONFIG = "tokenizer_config.json"
_CODE_OF_ITS_OWN = "custom code"  # in the words of transformers
_NO_SUCH_KIND = "does not recognize this architecture"
_OF_THE_CALL = ("backend", "is_local", "local_files_only", "max_length", "stride", "truncation_strategy")


def load_tokenizer(name: StrPath, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder.

    :param trust_remote_code: Run code that lies beside it.
    :raises CompressError: If there is none, its vocabulary is missing, or it has no padding token.
    """
    # Whoever serves a bundle has no PyTorch, which transformers would remark upon.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    folder = Path(name)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in ("tokenizer*", *_VOCABULARIES)):
        raise CompressError(f"{name}: the tokenizer is missing; put tokenizer.json beside the model's config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **code_of(name, trust_remote_code))
    except Exception as error:
        _check_trusted(name, error)
        reason = (sentencepiece_problem() if any(folder.glob("*.model")) else None) or first_line(error)
        raise CompressError(f"{name}: the tokenizer cannot be loaded ({reason}){_unnamed(folder)}") from error
    # Those of bytes and characters, which need no vocabulary, are not of the tokenizers library.
    if folder.is_dir() and tokenizer.is_fast and not any(any(folder.glob(pattern)) for pattern in _VOCABULARIES):
        raise CompressError(
            f"{name}: the tokenizer's vocabulary is missing; put tokenizer.json, or its SentencePiece file, beside its "
            "tokenizer_config.json"
        )
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest > 0:
        raise CompressError(
            f"{name}: model_max_length {longest!r:.100} of its {_TOKENIZER_CONFIG} is no number of tokens"
        )
    if tokenizer.pad_token_id is None:
        raise CompressError(
            f"{name}: the tokenizer has no padding token; set pad_token in its tokenizer_config.json{_unnamed(folder)}"
        )
    return tokenizer


def _unnamed(folder: Path) -> str:
    """What is to be said of a folder that does not tell its tokenizer's class."""
    if folder.is_dir() and not (folder / _TOKENIZER_CONFIG).is_file():
        return f"; {_TOKENIZER_CONFIG} is missing"
    if folder.is_dir() and not names_class(folder):
        return "; it names no tokenizer_class: put the tokenizer_config.json that belongs to the tokenizer there"
    return ""


def load_tokenizer_of(source: Source, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model from elsewhere, so that it splits text `as_its_file_says`.

    :raises CompressError: As `load_tokenizer`.
    """
    return as_its_file_says(source, load_tokenizer(source, trust_remote_code))


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer as it was loaded or made, in a form that transformers 4 reads too (Optimum needs it)."""
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_truncation()  # what the last call asked for is not the tokenizer's own
        tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    content = {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key not in _OF_THE_CALL}
    if content.get("tokenizer_class") == "TokenizersBackend":
        content["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(content.get("extra_special_tokens"), list):
        content["additional_special_tokens"] = content.pop("extra_special_tokens")
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def save_model(model: Any, folder: Path) -> None:
    """Save a finished model as those load it who know it: one that gives vectors with its modules."""
    if hasattr(model, "save_folder"):
        model.save_folder(folder)
    else:
        model.save_pretrained(folder)


def load_model(
    task: Task,
    name: StrPath,
    labels: Sequence[str],
    trust_remote_code: bool = False,
    dtype: Precision = "float32",
) -> PreTrainedModel:
    """Load a model of a run for its task, from safetensors only.

    :param name: Its folder.
    :param labels: What its head is for.
    :param trust_remote_code: Run code that lies beside it.
    :raises CompressError: If it cannot be loaded, is not whole, or has other labels.
    """
    config = load_config(name, trust_remote_code)
    model = _loaded(task, name, config, _How(trust_remote_code, dtype))
    if labels and (own := label_names(str(name), config)) != list(labels):
        raise CompressError(
            f"{name}: its labels ({', '.join(own[:5])} …) are not the data's ({', '.join(labels[:5])} …); "
            "run `compress distill` again"
        )
    return model


def load_teacher(
    task: Task, settings: Teacher, labels: Sequence[str], max_length: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model that a recipe names, from a folder or the hub, from safetensors only, and its tokenizer.

    Unless it is taken as it is, a head for our labels is put on.

    :param labels: In the order of its own, where it is taken as it is.
    :param max_length: Tokens of a row.
    :raises CompressError: If it is not whole, or as `check_teacher`.
    """
    config, tokenizer = check_teacher(task, settings, labels, max_length)
    new_head = settings.fine_tune and not task.GENERATES
    how = _How(settings.trust_remote_code, settings.dtype, new_head)
    model = _loaded(task, fetch(settings), config, how)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def check_teacher(
    task: Task, settings: Teacher, labels: Sequence[str], max_length: int
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Load what there is of a teacher besides its weights, and tell what can be told without them.

    :raises CompressError: If it does not fit its tokenizer, the rows or the memory, or is for another task.
    """
    import torch

    name = fetch(settings)
    config = load_config(name, settings.trust_remote_code)
    if task.RANKS and settings.fine_tune and not is_reranker(name, config):
        keep_activation(config, "sigmoid")  # an encoder's folder: what makes vectors there is left behind
    elif task.RANKS:
        take_activation(name, config)
    if not settings.fine_tune:
        check_head(name, config, task)
    if task.VECTORS:
        keep_head(config, read_head(name, settings, config))
    config.update(dict(label_maps(head_names(task, labels))))
    if settings.fine_tune or task.PROBLEM_TYPE:
        config.problem_type = task.PROBLEM_TYPE
    if settings.fine_tune:
        config = with_pooling(config, name, settings.read_by_classifiers, task.AUTO_CLASS)
    tokenizer = load_tokenizer_of(name, settings.trust_remote_code)
    try:
        with torch.device("meta"):
            architecture = without_weights(task, name, config, settings.trust_remote_code)
    except Exception as error:
        raise CompressError(f"{name}: the model cannot be made ({first_line(error)})") from error
    check_reads(name, architecture, tokenizer, max_length)
    weights, dtype = sum(weight.numel() for weight in architecture.parameters()), getattr(torch, settings.dtype)
    mend = "take a smaller model, or a machine with more"
    check_memory(f"{name}: its {weights / 1e6:,.0f} million weights take", dtype.itemsize * weights, mend)
    return config, tokenizer


def load_config(name: StrPath, trust_remote_code: bool = False) -> PreTrainedConfig:
    """The configuration of a model in a folder.

    :param trust_remote_code: Run code that lies beside it.
    :raises CompressError: If it cannot be read, or the folder is no model's.
    """
    from transformers import AutoConfig

    check_files(name)
    register_mean_pooled()
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(Path(name), **code_of(name, trust_remote_code))
    except Exception as error:
        _check_trusted(name, error)
        if _NO_SUCH_KIND in str(error):
            kind = json.loads((Path(name) / "config.json").read_bytes())["model_type"]
            raise CompressError(
                f"{name}: its config.json says model_type: {kind}, which this transformers does not know; install one "
                "that does, or name another model"
            ) from error
        raise CompressError(f"{name}: the model's config.json cannot be read ({first_line(error)})") from error
    if getattr(config, "quantization_config", None):
        raise CompressError(f"{name}: its weights are quantised; name the model as it was before")
    return config


def code_of(name: StrPath, trust_remote_code: bool) -> dict[str, Any]:
    """What transformers is told of a model's own code."""
    pin = {"code_revision": name.code_revision} if isinstance(name, Source) and name.code else {}
    return {"trust_remote_code": trust_remote_code, **pin}


def _check_trusted(name: StrPath, error: Exception) -> None:
    """Say what is to be done where transformers did not load something, as that would have run code."""
    if _CODE_OF_ITS_OWN in str(error):
        raise CompressError(
            f"{name}: it brings code of its own, which is run only where that is asked for; read it, then set "
            "teacher.trust_remote_code: true"
        ) from error


@dataclass(frozen=True)
class _How:
    """How a model is loaded: whether code beside it may run, in what its weights are held, and whether its head may be
    new."""

    trust_remote_code: bool
    dtype: Precision
    new_head: bool = False


def _loaded(task: Task, name: StrPath, config: PreTrainedConfig, how: _How) -> PreTrainedModel:
    import torch

    folder = Path(name)
    try:
        model, told = model_class(task).from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            **code_of(name, how.trust_remote_code),
            dtype=getattr(torch, how.dtype),
            ignore_mismatched_sizes=True,  # they are looked at here
            output_loading_info=True,
        )
    except Exception as error:
        raise CompressError(f"{name}: the model cannot be loaded ({first_line(error)})") from error
    mismatched = [key for key, *_ in told["mismatched_keys"]]
    loading = Loading(told["missing_keys"], told["unexpected_keys"], mismatched, sentence_modules(name))
    check_complete(name, model.base_model if task.VECTORS else model, loading, new_head=how.new_head)
    check_types(name, model, sorted(folder.glob("model*.safetensors")))
    check_finite(name, model, "train or save the model again")
    loaded: PreTrainedModel = model
    return loaded


def without_weights(
    task: Task, name: StrPath, config: PreTrainedConfig, trust_remote_code: bool = False
) -> PreTrainedModel:
    """A new model of a configuration, of its own code where that may run.

    :param name: Where the configuration is from.
    """
    from transformers import AutoModel

    loader, told = model_class(task), code_of(name, trust_remote_code)
    known = (AutoModel if task.VECTORS else loader)._model_mapping
    if type(config) in known:  # it was loaded before, of the same commit: its class is known by now
        told.pop("code_revision", None)
    made: PreTrainedModel = loader.from_config(config, **told)
    return made


def model_class(task: Task) -> Any:
    """The class of transformers that loads the models of a task, or ours that does it as they do."""
    register_mean_pooled()
    if task.VECTORS:
        from compress.models.sentence import SentenceEncoder

        return SentenceEncoder
    import transformers

    return getattr(transformers, task.AUTO_CLASS)
