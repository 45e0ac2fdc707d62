"""Trimming a model from elsewhere into a folder, with what else belongs to it: the modules of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.console import working
from compress.errors import CompressError, first_line
from compress.memory import check_memory
from compress.models.checks import Loading, check_complete, check_finite, check_reads, check_types
from compress.models.intake import check_tokenizer
from compress.models.load import code_of, load_config, load_tokenizer_of
from compress.models.pooling import mean_pooled_class
from compress.models.source import Source, fetch
from compress.models.trial import try_tokenizer
from compress.models.vocabulary.anatomy import Texts
from compress.models.vocabulary.summary import TrimmingSummary
from compress.models.vocabulary.trim import trim_vocabulary
from compress.recipe.teacher import Teacher
from compress.runs.files import atomic_folder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_MODULES = "modules.json"
# What belongs to a model beside its weights, its tokenizer and their configuration, which are written anew.
_KEPT_FILES = (_MODULES, "config_sentence_transformers.json", "sentence_*_config.json", "README.md", "LICENSE*", "*.py")
_SAMPLED, _SAMPLED_OF_A_LANGUAGE = 10_000, 50  # texts


def trim_model(teacher: Teacher, output: Path, texts: Texts, held_out: Texts) -> TrimmingSummary:
    """Trim a model and its tokenizer, in the precision that its weights are stored in.

    :param teacher: Names the model, of transformers or sentence-transformers, and says what is kept.
    :param output: It must not exist, or be empty; if anything fails it does not exist.
    :param texts: Text of each language, which says what is used.
    :param held_out: Other text, which tells what is lost.
    :raises CompressError: If the model is not whole or does not fit its tokenizer, or cannot be trimmed so.
    """
    whole = fetch(teacher)
    modules = _modules(whole)
    # The transformer is the first module, in the folder itself or in one of its own.
    place = modules[0] if modules else "."
    source = replace(whole, folder=whole.folder / place)
    with atomic_folder(output) as filling:
        (filling / place).mkdir(exist_ok=True)
        with working(f"trim: loading {source}"):
            trusted = teacher.trust_remote_code
            try_tokenizer(
                Teacher(model=str(source.folder), trust_remote_code=trusted, code_revision=source.code_revision)
            )
            config, tokenizer = load_config(source, trusted), load_tokenizer_of(source, trusted)
            _check_tokenizer(source, tokenizer, texts)
            model, poolers = _loaded(source, config, trusted)
            check_reads(source, model, tokenizer, 0)
        with working("trim: reading text"):
            _, summary = trim_vocabulary(model, tokenizer, texts, held_out, teacher.vocabulary, filling / place)
        with working(f"trim: writing {output}"):
            weights = {name: value for name, value in model.state_dict().items() if name not in poolers}
            model.save_pretrained(filling / place, state_dict=weights)
            _copy_the_rest(whole.folder, filling, modules, place)
    return summary


def _check_tokenizer(source: Source, tokenizer: PreTrainedTokenizerBase, texts: Texts) -> None:
    sample: dict[str, list[str]] = {}
    for language, text in islice(texts(), _SAMPLED):
        found = sample.setdefault(language, [])
        if len(found) < _SAMPLED_OF_A_LANGUAGE:
            found.append(text)
    check_tokenizer(source, tokenizer, sample)


def _loaded(source: Source, config: PreTrainedConfig, trust_remote_code: bool) -> tuple[PreTrainedModel, set[str]]:
    """A model with the head that it was saved with, if any; and the weights of a pooler that its files lack."""
    files = sorted(source.folder.glob("model*.safetensors"))
    check_memory(f"{source}: its weights take", sum(file.stat().st_size for file in files), "take a machine with more")
    try:
        model, told = _class_of(config, trust_remote_code).from_pretrained(
            source.folder,
            config=config,
            use_safetensors=True,
            **code_of(source, trust_remote_code),
            dtype="auto",
            ignore_mismatched_sizes=True,  # they are looked at here
            output_loading_info=True,
        )
    except Exception as error:
        raise CompressError(f"{source}: the model cannot be loaded ({first_line(error)})") from error
    mismatched = [key for key, *_ in told["mismatched_keys"]]
    poolers = {key for key in told["missing_keys"] if "pooler" in key.split(".")}
    loading = Loading(set(told["missing_keys"]) - poolers, told["unexpected_keys"], mismatched)
    check_complete(source, model, loading, new_head=False)
    check_types(source, model, files)
    check_finite(source, model, "train or save the model again")
    loaded: PreTrainedModel = model.eval()
    return loaded, poolers


def _class_of(config: PreTrainedConfig, of_its_code: bool) -> Any:
    """:param of_its_code: Whether code of the model's own is run, where its configuration names some."""
    import transformers

    if mean_pooled := mean_pooled_class(config):
        return mean_pooled
    named = config.architectures or ()
    if of_its_code:
        loaders = [loader for loader in getattr(config, "auto_map", None) or () if loader.startswith("AutoModel")]
        fitting = [
            loader for loader in loaders for name in named if name.endswith(loader.removeprefix("AutoModel") or "Model")
        ]
        if loaders:
            return getattr(transformers, fitting[0] if fitting else loaders[0])
    names = [name for name in named if hasattr(transformers, name)]
    return getattr(transformers, names[0]) if names else transformers.AutoModel


def _modules(source: Source) -> list[str]:
    """The folders of a sentence-transformers model's modules, the transformer's first; none of a plain model."""
    path = source.folder / _MODULES
    if not path.is_file():
        return []
    what = f"{source}: its {_MODULES} is not a list of sentence-transformers' modules"
    try:
        modules = [Path(module["path"]) for module in json.loads(path.read_text("utf-8"))]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise CompressError(f"{what} ({first_line(error)}); copy it again") from error
    if outside := [module for module in modules if module.is_absolute() or ".." in module.parts]:
        raise CompressError(f"{what}: {outside[0]} is not in the folder; copy it again")
    return [str(module) for module in modules]


def _copy_the_rest(folder: Path, filling: Path, modules: list[str], place: str) -> None:
    for module in {*modules} - {place, "."}:
        if (folder / module).is_dir():
            shutil.copytree(folder / module, filling / module)
    for directory in {".", place}:
        for path in _kept_files(folder / directory):
            shutil.copy(path, filling / directory / path.name)


def _kept_files(folder: Path) -> Iterator[Path]:
    return (path for pattern in _KEPT_FILES for path in folder.glob(pattern) if path.is_file())
