"""What is wrong with a model from elsewhere, in one line, before anything is made of it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.files import read_limited
from compress.models.source import StrPath
from compress.tasks.contract import Task
from compress.tasks.registry import TASKS, TaskName, task_named

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# As safetensors calls them, and PyTorch.
_WEIGHT_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
_LARGEST = 500_000_000  # bytes of a file in JSON: a tokenizer of a million tokens has 100 million
_HEADS: dict[str, TaskName] = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForConditionalGeneration": "translation",
    "MTModel": "translation",
}
_NUMBER = re.compile(r"\.\d+\.")


@dataclass(frozen=True)
class Loading:
    """What transformers says of a model that it has loaded: weights that its files lack, that it has no place for, and
    that have another shape than in its files; and the `sentence_modules` that lie beside it."""

    missing: Collection[str]
    unexpected: Collection[str]
    mismatched: Collection[str]
    modules: Collection[str] = ()


def check_files(name: StrPath) -> None:
    """Accept a folder or refuse it.

    :raises CompressError: If it is no model folder, or has no weights of its own, or pickled ones, or what cannot be
        its configuration.
    """
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise CompressError(f"{name}: not a model folder (config.json is missing){_instead(folder)}")
    for path in folder.glob("*.json"):
        if path.stat().st_size > _LARGEST:
            raise CompressError(
                f"{path}: {path.stat().st_size:,} bytes, where {_LARGEST:,} are the most; copy it again"
            )
    if (folder / "adapter_config.json").exists():
        raise CompressError(f"{name}: it holds an adapter; merge it into its model and save that")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(ending))
        found = (
            f"it has pickled weights only ({', '.join(pickled)}), which can run code"
            if pickled
            else "no weights in safetensors"
        )
        raise CompressError(f"{name}: {found}; save it again with safe_serialization (model.safetensors)")


def _instead(folder: Path) -> str:
    """What to name instead of a folder that is no model's."""
    hub = folder.name.removeprefix("models--").replace("--", "/")
    if (folder / "snapshots").is_dir():
        return f"; it is what the hub's client keeps of {hub}: name {hub}, or a folder in its snapshots"
    if (folder / "gliner_config.json").exists():
        return ", but one of GLiNER's, whose models transformers does not load; name a token classifier"
    return "; name one that save_pretrained wrote, or its teacher.subfolder"


def architectures_of(config: PreTrainedConfig) -> list[str]:
    """The classes of transformers that a configuration names."""
    return list(getattr(config, "architectures", None) or [])


def task_of_head(config: PreTrainedConfig) -> TaskName | None:
    """The task that a model's head is for, by the class and the problem that its configuration names; none where it
    names no class. One output is a number where no problem is named, as transformers has it."""
    named = architectures_of(config)
    problem = config.problem_type or ("regression" if config.num_labels == 1 else None)
    found = next((task for ending, task in _HEADS.items() if any(name.endswith(ending) for name in named)), None)
    same = [name for name, task in TASKS.items() if found and task.AUTO_CLASS == task_named(found).AUTO_CLASS]
    return next((name for name in same if problem and problem == task_named(name).PROBLEM_TYPE), found)


def check_head(name: StrPath, config: PreTrainedConfig, task: Task) -> None:
    """Accept a head that is taken as it is, or refuse it: another task's may have weights of the same names and shapes.

    :raises CompressError: If it is for another task.
    """
    found, problem = task_of_head(config), config.problem_type
    if found is None or task_named(found) is task or (task.RANKS and found in ("regression", "text-classification")):
        if task.NUMBERS and config.num_labels != 1:
            what = "a reranker's score" if task.RANKS else "a number"
            raise CompressError(f"{name}: its head has {config.num_labels} outputs, {what} is one; name another")
        return
    if problem is None and task.SEVERAL_LABELS and found in ("text-classification", "regression"):
        return  # one class of heads for several problems, and it does not tell which
    told = f"problem_type: {problem}" if task_named(found).PROBLEM_TYPE else architectures_of(config)[0]
    raise CompressError(
        f"{name}: its head is for {found} ({told} in its config.json); choose that task, or a model with a head for "
        "this one"
    )


def check_reads(
    name: StrPath, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, max_length: int
) -> None:
    """Accept a model for a tokenizer and a length of rows, or refuse it.

    :param model: Of which nothing but its architecture is looked at.
    :raises CompressError: If it has too few positions or token embeddings, counts positions by another padding, or
        would write from a token on that it does not have.
    """
    longest = longest_input(model)
    if longest is not None and max_length > longest:
        raise CompressError(
            f"data.max_length: {max_length} tokens are more than {name} can read; it has {longest} positions"
        )
    rows, start = token_embeddings(model), getattr(model.config, "decoder_start_token_id", None)
    if rows and start is not None and start >= rows:
        raise CompressError(
            f"{name}: its config.json says decoder_start_token_id: {start}, the model has embeddings of {rows} tokens; "
            "use the config.json that belongs to it"
        )
    if tokenizer is None:
        return
    for table in _position_tables(model):
        if table.padding_idx is not None and table.padding_idx != tokenizer.pad_token_id:
            raise CompressError(
                f"{name}: its tokenizer pads with token {tokenizer.pad_token_id}, its config.json says pad_token_id: "
                f"{table.padding_idx}, by which it counts positions; put the tokenizer that belongs to it beside it"
            )
    token, highest = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1]) if rows else ("", -1)
    if rows and highest >= rows:
        raise CompressError(
            f"{name}: its tokenizer gives '{token}' the number {highest}, the model has embeddings of {rows} tokens "
            "(vocab_size in its config.json); put the tokenizer that belongs to it beside it"
        )


def longest_input(model: PreTrainedModel) -> int | None:
    """Tokens that a model has positions for; none if it counts distances alone.

    Embedded positions may begin after the padding token's (RoBERTa) or at another offset (BART).
    """
    rooms = []
    for table in _position_tables(model):
        first = 0 if table.padding_idx is None else table.padding_idx + 1
        rooms.append(table.num_embeddings - getattr(table, "offset", first))
    if rooms:
        return int(min(rooms))
    told = getattr(model.config, "max_position_embeddings", None)
    return told if told and told > 0 and not getattr(model.config, "relative_attention", False) else None


def check_complete(name: StrPath, model: PreTrainedModel, loading: Loading, *, new_head: bool) -> None:
    """Accept a model whose weights all came from its files, or refuse it.

    :param new_head: Its head may be new: it is trained.
    :raises CompressError: Naming weights that are missing, of another shape, or without a place.
    """

    def unasked(keys: Collection[str]) -> list[str]:
        return sorted(key for key in keys if not (new_head and _is_of_head(model, key)))

    missing, mismatched = unasked(loading.missing), unasked(loading.mismatched)
    if missing and all(_is_of_head(model, key) for key in missing):
        named = f", and nothing does what modules.json names ({', '.join(loading.modules)})" if loading.modules else ""
        lacking = f"its files lack the head ({_some(missing)}), which would be random{named}"
        raise CompressError(f"{name}: {lacking}; {_instead_of_head(model)}")
    if missing:
        raise CompressError(
            f"{name}: its files lack weights ({_some(missing)}), which would be random; copy or save the model again"
        )
    if mismatched:
        raise CompressError(
            f"{name}: weights have another shape than its config.json says ({_some(mismatched)}); "
            "use the config.json that belongs to them"
        )
    # What belongs to another head has no place; one more layer of those that are there was left out by mistake.
    repeated = {_NUMBER.sub(".*.", key) for key in model.state_dict() if _NUMBER.search(key)}
    numbered = [key for key in loading.unexpected if _NUMBER.search(key)]
    left = sorted(key for key in numbered if not repeated or _NUMBER.sub(".*.", key) in repeated)
    if left:
        raise CompressError(
            f"{name}: its files have more layers than its config.json says ({_some(left)}); "
            "use the config.json that belongs to them"
        )


def _instead_of_head(model: PreTrainedModel) -> str:
    """What to do where a model lacks the head that a task needs."""
    fine_tuned = "name a model that has been fine-tuned for the task"
    if model.can_generate():
        return f"{fine_tuned}, or copy or save this one again, whole"
    vectors = "" if model.config.is_encoder_decoder else "take its vectors (--task embedding), "
    return (
        f"{fine_tuned}, {vectors}or have `compress distill` train one, with a recipe that says teacher.fine_tune: true"
    )


def check_types(name: StrPath, model: PreTrainedModel, files: Sequence[Path]) -> None:
    """Accept weights that are stored as floating-point numbers of 16 bits or more, or refuse them.

    :param files: In safetensors.
    :raises CompressError: Naming a weight that is stored as something else: without its scale it would be read wrongly.
    """
    from safetensors import safe_open

    kinds = {key.rpartition(".")[2] for key, _ in model.named_parameters()}  # not those of counters and positions
    for file in files:
        with safe_open(file, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 - it is no dictionary
                kind = weights.get_slice(key).get_dtype()
                if kind not in _WEIGHT_TYPES and key.rpartition(".")[2] in kinds:
                    raise CompressError(
                        f"{name}: the weights '{key}' are stored as {kind}: quantised, or damaged; "
                        "name the model as it was before"
                    )


def stored_precision(folder: Path) -> str:
    """The type that most numbers of a folder's weights are stored in, as PyTorch calls it."""
    from safetensors import safe_open

    numbers: Counter[str] = Counter()
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 - it is no dictionary
                one = weights.get_slice(key)
                numbers[one.get_dtype()] += math.prod(one.get_shape())
    kind = max(_WEIGHT_TYPES, key=lambda kind: numbers[kind])
    return _WEIGHT_TYPES[kind]


def sentence_modules(name: StrPath) -> list[str]:
    """What a sentence-transformers model does with its transformer's outputs: pooling, a layer, length one.

    :raises CompressError: If ``modules.json`` is not as that library writes it.
    """
    path = Path(name) / "modules.json"
    if not path.is_file():
        return []
    try:
        listed = json.loads(read_limited(path, _LARGEST))
        if not isinstance(listed, list):
            raise TypeError("no list")
        kinds = [str(module["type"]).rpartition(".")[2] for module in listed]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise CompressError(f"{name}: its modules.json is no list of modules; copy it again, or delete it") from error
    return [kind for kind in kinds if kind != "Transformer"]


def check_finite(what: StrPath, model: PreTrainedModel, mend: str) -> None:
    """Accept weights that are numbers, or refuse them.

    :param what: The model, for people.
    :raises CompressError: Naming weights that are infinite or not a number.
    """
    import torch

    for key, values in model.named_parameters():
        if values.numel() and all(map(torch.isfinite, torch.aminmax(values.detach()))):
            continue  # told without the copies of large weights that counting takes
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            raise CompressError(
                f"{what}: {wrong:,} of the {values.numel():,} weights '{key}' are infinite or not a number; {mend}"
            )


def _is_of_head(model: PreTrainedModel, key: str) -> bool:
    """Whether weights belong to what a task puts on a pretrained model; poolers come and go with it."""
    prefix = f"{model.base_model_prefix}."
    return model.base_model is not model and (not key.startswith(prefix) or key.startswith(f"{prefix}pooler."))


def _position_tables(model: PreTrainedModel) -> list[Any]:
    from torch.nn import Embedding

    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, Embedding) and "position" in name.rpartition(".")[2]
    ]


def token_embeddings(model: PreTrainedModel) -> int | None:
    """Tokens that a model has embeddings of; none for one that hashes characters."""
    from torch.nn import Embedding

    try:
        embeddings = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return embeddings.num_embeddings if isinstance(embeddings, Embedding) else None


def _some(keys: Sequence[str]) -> str:
    return f"{keys[0]} and {len(keys) - 1} more" if len(keys) > 1 else keys[0]
