"""Folders of sentence-transformers that give vectors of texts, and what these are by that library itself."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_folder
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from compress.recipe.teacher import Teacher
from compress.serving.opened import Model, open_to_try
from compress.tasks.registry import TaskName

MODULES, SETTINGS, TRANSFORMER = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
TOKENIZER = "tokenizer_config.json"
POOLING, DENSE, DENSE_WEIGHTS = "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"
TEXTS = ("w1", "w2 w3 w4", "w5 " * 50, "query: w1", "")
_NEAR = 1e-4


def opened(folder: Path, task: TaskName) -> Model:
    """The model as `compress predict` opens it."""
    return open_to_try(Teacher(model=str(folder / "model"), fine_tune=False), task=task)


def ask(folder: Path) -> None:
    """Take vectors of texts: they are those of sentence-transformers, where that opens the folder."""
    model = opened(folder, "embedding")
    found = model.encode(TEXTS)
    if not np.isfinite(found).all():
        raise WrongAnswer("its vectors are no numbers")
    if not can_be_compared(folder / "model"):
        return
    try:
        wanted = SentenceTransformer(str(folder / "model"), device="cpu").encode(list(TEXTS))
    except Exception:  # whatever it stops at: what it does not open, it does not contradict
        return
    if found.shape != wanted.shape or np.abs(found - wanted).max() > _NEAR:
        raise WrongAnswer(f"sentence-transformers gives {wanted!s:.200}, and not {found!s:.200}")


def can_be_compared(model: Path) -> bool:
    """Whether all of a folder are files, and its tokenizer is named: the other library would wait for what comes out of
    a pipe, and takes a class that splits text otherwise than `tokenizer.json` says, where we tell and do not."""
    return (model / TOKENIZER).is_file() and all(path.is_file() or path.is_dir() for path in model.rglob("*"))


def changed(name: str, **changes: Any) -> Callable[[Path], None]:
    """A file in JSON with other fields; those that are ``...`` are taken out."""

    def change(model: Path) -> None:
        content = {**json.loads((model / name).read_text("utf-8")), **changes}
        kept = {key: value for key, value in content.items() if value is not ...}
        (model / name).write_text(json.dumps(kept), "utf-8")

    return change


def written(name: str, text: str) -> Callable[[Path], None]:
    """A file with another text."""
    return lambda model: (model / name).write_text(text, "utf-8") and None


def _modules(change: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    def changed_list(model: Path) -> None:
        listed = json.loads((model / MODULES).read_text("utf-8"))
        (model / MODULES).write_text(json.dumps(change(listed)), "utf-8")

    return changed_list


def _module(place: int, **changes: Any) -> Callable[[Path], None]:
    return _modules(lambda listed: [{**one, **changes} if at == place else one for at, one in enumerate(listed)])


def _dense(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def changed_weights(model: Path) -> None:
        weights = load_file(model / DENSE_WEIGHTS)
        save_file({name: np.ascontiguousarray(change(array)) for name, array in weights.items()}, model / DENSE_WEIGHTS)

    return changed_weights


def _moved_away(model: Path) -> None:
    shutil.move(model / "1_Pooling", model.parent / "1_Pooling")
    _module(1, path="../1_Pooling")(model)


def _pickled(model: Path) -> None:
    (model / DENSE_WEIGHTS).rename(model / "2_Dense/pytorch_model.bin")


CASES: dict[str, tuple[Callable[[Path], None], Wants]] = {
    "unaltered": (lambda model: None, "accepted"),
    "a module that works on what has a long name": (changed(POOLING, module_output_name="x" * 10_000), "refused"),
    "a pooling of a long name": (changed(POOLING, pooling_mode="x" * 10_000), "refused"),
    "no list of modules": (written(MODULES, "{}"), "refused"),
    "modules that are numbers": (written(MODULES, "[1, 2]"), "refused"),
    "no modules": (written(MODULES, "[]"), "refused"),
    "modules of deep nesting": (written(MODULES, DEEP), "refused"),
    "a module that is elsewhere": (_moved_away, "refused"),
    "a module at an absolute path": (_module(1, path="/etc"), "refused"),
    "a module at a number": (_module(1, path=5), "refused"),
    "a module at null": (_module(1, path=None), "refused"),
    "a module of no type": (_module(2, type=None), "refused"),
    "a module of a type that nobody knows": (_module(2, type="sentence_transformers.models.LSTM"), "refused"),
    "a module of code": (_module(2, type="os.system"), "refused"),
    "a table of vectors in place of the transformer": (
        _module(0, type="sentence_transformers.models.StaticEmbedding"),
        "refused",
    ),
    "a transformer elsewhere": (_module(0, path="0_Transformer"), "refused"),
    "two transformers": (_modules(lambda listed: [listed[0], *listed]), "refused"),
    "no pooling": (_modules(lambda listed: [listed[0], *listed[2:]]), "refused"),
    "two poolings": (_modules(lambda listed: [*listed[:2], *listed[1:]]), "refused"),
    "length one before pooling": (_modules(lambda listed: [listed[0], listed[3], *listed[1:3]]), "refused"),
    "a layer before pooling": (_modules(lambda listed: [listed[0], listed[2], listed[1], listed[3]]), "refused"),
    "several poolings that the layer does not read": (changed(POOLING, pooling_mode=["cls", "mean"]), "refused"),
    "a pooling that nobody knows": (changed(POOLING, pooling_mode="attention"), "refused"),
    "a pooling that is a number": (changed(POOLING, pooling_mode=5), "refused"),
    "a pooling that is an object": (changed(POOLING, pooling_mode={"mean": True}), "refused"),
    "poolings of which one is a number": (changed(POOLING, pooling_mode=["mean", 5]), "refused"),
    "an old pooling that nobody knows": (changed(POOLING, pooling_mode=..., pooling_mode_best_token=True), "refused"),
    "no pooling by old names": (changed(POOLING, pooling_mode=..., pooling_mode_mean_tokens=False), "either"),
    "a pooling without its prompts": (changed(POOLING, include_prompt=False), "refused"),
    "a pooling's settings in a list": (written(POOLING, "[]"), "refused"),
    "a layer that reads fewer numbers": (changed(DENSE, in_features=8), "refused"),
    "a layer that gives more numbers": (changed(DENSE, out_features=4096), "refused"),
    "a layer that gives no numbers": (changed(DENSE, out_features=0), "refused"),
    "a layer of a negative width": (changed(DENSE, in_features=-32), "refused"),
    "a layer of a trillion numbers": (changed(DENSE, out_features=10**12), "refused"),
    "a layer of a width in words": (changed(DENSE, in_features="many"), "refused"),
    "a layer without a width": (changed(DENSE, in_features=...), "refused"),
    "a layer without a bias": (changed(DENSE, bias=False), "refused"),
    "a layer whose activation is code": (changed(DENSE, activation_function="os.system"), "refused"),
    "a layer whose activation is a number": (changed(DENSE, activation_function=5), "refused"),
    "a layer that adds what it reads": (changed(DENSE, use_residual=True), "refused"),
    "a layer of tokens": (changed(DENSE, module_input_name="token_embeddings"), "refused"),
    "a layer with pickled weights": (_pickled, "refused"),
    "a layer of another shape": (_dense(lambda array: array[..., :7]), "refused"),
    "a layer that is no number": (_dense(lambda array: array * np.nan), "refused"),
    "prompts in a list": (changed(SETTINGS, prompts=["query: "]), "refused"),
    "a prompt that is a number": (changed(SETTINGS, prompts={"query": 5}), "refused"),
    "a prompt that is a list": (changed(SETTINGS, prompts={"query": ["query: "]}), "refused"),
    "a default prompt that is not there": (changed(SETTINGS, default_prompt_name="title"), "refused"),
    "a default prompt that is a number": (changed(SETTINGS, default_prompt_name=5), "refused"),
    "a default prompt": (changed(SETTINGS, default_prompt_name="query"), "accepted"),
    "a similarity that nobody knows": (changed(SETTINGS, similarity_fn_name="taste"), "refused"),
    "a similarity that is a number": (changed(SETTINGS, similarity_fn_name=5), "refused"),
    "fewer dimensions": (changed(SETTINGS, truncate_dim=8), "accepted"),
    "more dimensions than there are": (changed(SETTINGS, truncate_dim=4096), "refused"),
    "a negative number of dimensions": (changed(SETTINGS, truncate_dim=-8), "refused"),
    "dimensions in words": (changed(SETTINGS, truncate_dim="eight"), "refused"),
    "another library's kind": (changed(SETTINGS, model_type="SparseEncoder"), "refused"),
    "settings in a list": (written(SETTINGS, "[]"), "refused"),
    "a length in words": (changed(TRANSFORMER, max_seq_length="long"), "refused"),
    "a negative length": (changed(TRANSFORMER, max_seq_length=-5), "refused"),
    "a length beyond the positions": (changed(TRANSFORMER, max_seq_length=10**6), "accepted"),
    "text in small letters": (changed(TRANSFORMER, do_lower_case=True), "refused"),
}


def surface(material: Material) -> Surface:
    return folder_surface("vectors", material.vectors, ask, CASES, (MODULES, POOLING, DENSE, SETTINGS))


def folder_surface(
    name: str,
    source: Path,
    ask: Callable[[Path], None],
    altered: dict[str, tuple[Callable[[Path], None], Wants]],
    files: tuple[str, ...],
) -> Surface:
    """A model's folder with what is done to it.

    :param files: In whose place all that is no file is put.
    """

    def case(alter: Callable[[Path], None]) -> Spoil:
        def spoil(folder: Path) -> None:
            shutil.copytree(source, folder / "model")
            alter(folder / "model")

        return spoil

    cases = {words: (case(alter), wants) for words, (alter, wants) in altered.items()}
    for file in files:
        for words, put in REPLACEMENTS.items():
            cases[f"in place of {file}: {words}"] = case(lambda model, put=put, file=file: put(model / file)), "either"

    def draw(random_: random.Random, folder: Path) -> str:
        return altered_folder(random_, folder / "model", source, random_.choice((1, 1, 2)))

    return Surface(name, ask, cases, draw, draws=150, places=("teacher.", "data.", "predict: ", "model: "))
