"""Loading a model and its tokenizer from a folder or the hub, and saving tokenizers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError, first_line
from compress.models.describe import label_maps
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_OF_THE_CALL = ("backend", "is_local", "local_files_only", "max_length", "stride", "truncation_strategy")


def load_tokenizer(name: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub id.

    :raises CompressError: If there is none, or it has no padding token.
    """
    # Whoever serves a bundle has no PyTorch, which transformers would remark upon.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    if Path(name).is_dir() and not any(Path(name).glob("tokenizer*")) and not any(Path(name).glob("vocab*")):
        raise CompressError(f"{name}: the tokenizer is missing; put tokenizer.json beside the model's config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise CompressError(f"{name}: the tokenizer cannot be loaded ({first_line(error)})") from error
    if tokenizer.pad_token_id is None:
        raise CompressError(f"{name}: the tokenizer has no padding token; set pad_token in its tokenizer_config.json")
    return tokenizer


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


def load_model(
    task: Task, name: str, labels: Sequence[str], *, as_is: bool, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a model for a task from a folder or hub id, from safetensors only.

    :param as_is: Keep its head, whose label names must then be ours; otherwise a head for our labels is put on.
    :raises CompressError: If it cannot be loaded, has pickled weights only, or has other labels.
    """
    _check_weights(name)
    head = {} if as_is else {**label_maps(labels), "ignore_mismatched_sizes": True}
    try:
        model: PreTrainedModel = model_class(task).from_pretrained(
            name, use_safetensors=True, trust_remote_code=trust_remote_code, **head
        )
    except Exception as error:
        raise CompressError(f"{name}: the model cannot be loaded ({first_line(error)})") from error
    config: Any = model.config
    own = [config.id2label[index] for index in range(config.num_labels)]
    if as_is and labels and own != list(labels):
        raise CompressError(
            f"{name}: its labels ({', '.join(own[:5])} …) are not the data's ({', '.join(labels[:5])} …); "
            "set teacher.fine_tune: true or rename the labels in its config.json"
        )
    return model


def model_class(task: Task) -> Any:
    """The class of transformers that loads the models of a task."""
    import transformers

    return getattr(transformers, task.AUTO_CLASS)


def _check_weights(name: str) -> None:
    folder = Path(name)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise CompressError(f"{name}: not a model folder (config.json is missing)")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(ending))
        found = f"it has pickled weights only ({', '.join(pickled)}), which can run code" if pickled else "no weights"
        raise CompressError(f"{name}: {found}; save it again with safe_serialization (model.safetensors)")
