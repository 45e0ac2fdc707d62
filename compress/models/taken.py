"""What a model from elsewhere is for, and how much it can read, before any of its weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.errors import CompressError
from compress.models.checks import architectures_of, longest_input, task_of_head
from compress.models.load import load_config, load_tokenizer_of, without_weights
from compress.models.reranker import is_reranker
from compress.models.sentence_folder import gives_vectors, keep_head, read_head
from compress.models.source import Source, fetch
from compress.recipe.teacher import Teacher
from compress.tasks.registry import TASKS, TaskName, task_named

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_MOST_TOKENS = 512  # what is longer is read on request: most rows are short, and long ones take much time


def task_of(name: Source, config: PreTrainedConfig) -> TaskName:
    """What a model does, by the head that its configuration names, or the modules beside it.

    :raises CompressError: If it names none, or one that no task here has.
    """
    named, found = architectures_of(config), task_of_head(config)
    if found == "regression" and is_reranker(name, config):
        return "reranking"
    if found is not None:
        return found
    if gives_vectors(name):
        return "embedding"
    told = f"its config.json names {', '.join(named)}" if named else "its config.json names no architecture"
    raise CompressError(f"{name}: what it is for cannot be told ({told}); say it with --task: {', '.join(TASKS)}")


def readable_tokens(task: TaskName, settings: Teacher) -> int:
    """How many tokens of a row a model is given where nobody says: as many as it reads, but 512 at most."""
    import torch

    source = fetch(settings)
    config = load_config(source, settings.trust_remote_code)
    most = min(_MOST_TOKENS, int(load_tokenizer_of(source, settings.trust_remote_code).model_max_length))
    if task_named(task).VECTORS:
        keep_head(config, head := read_head(source, settings, config))
        most = min(_MOST_TOKENS, head.max_length or most)  # what is said of vectors counts more
    try:
        with torch.device("meta"):
            model = without_weights(task_named(task), source, config, settings.trust_remote_code)
    except Exception:  # what is wrong with it is told where it is loaded
        return most
    return min(longest_input(model) or most, most)
