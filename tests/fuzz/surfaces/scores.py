"""CrossEncoders of sentence-transformers, and what they say by that library itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from attempts import Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP
from safetensors.numpy import load_file, save_file
from sentence_transformers import CrossEncoder

from surfaces.vectors import (
    MODULES,
    SETTINGS,
    TOKENIZER,
    TRANSFORMER,
    can_be_compared,
    changed,
    folder_surface,
    opened,
    written,
)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
QUERY, PASSAGES = "w1 w2", ("w1", "w3 w4 w5", "w5 " * 50, "")
_NEAR = 1e-4


def ask(folder: Path) -> None:
    """Take scores of passages: they are those of sentence-transformers, where that opens the folder."""
    ranked = opened(folder, "reranking").rank(QUERY, PASSAGES)
    found = [one.score for one in sorted(ranked, key=lambda one: one.place)]
    if not np.isfinite(found).all():
        raise WrongAnswer(f"its scores are {found}")
    if not can_be_compared(folder / "model"):
        return
    try:
        model = CrossEncoder(str(folder / "model"), device="cpu")
        wanted = model.predict([(QUERY, passage) for passage in PASSAGES])
    except Exception:  # whatever it stops at: what it does not open, it does not contradict
        return
    if wanted.shape != (len(found),) or np.abs(wanted - found).max() > _NEAR:
        raise WrongAnswer(f"sentence-transformers gives {wanted!s:.200}, and not {found}")


def _two_outputs(model: Path) -> None:
    weights = load_file(model / WEIGHTS)
    head = {name: np.concatenate([array, array]) for name, array in weights.items() if name.startswith("classifier")}
    save_file({**weights, **head}, model / WEIGHTS, {"format": "pt"})
    names = {"0": "irrelevant", "1": "relevant"}
    changed(CONFIG, id2label=names, label2id={name: int(number) for number, name in names.items()})(model)


def _activation(path: object) -> Callable[[Path], None]:
    return changed(SETTINGS, activation_fn=path)


CASES: dict[str, tuple[Callable[[Path], None], Wants]] = {
    "unaltered": (lambda model: None, "accepted"),
    "no activation": (_activation("torch.nn.modules.linear.Identity"), "accepted"),
    "an activation that changes the order": (_activation("torch.nn.modules.activation.Softmin"), "refused"),
    "an activation that is code": (_activation("os.system"), "refused"),
    "an activation that is a number": (_activation(5), "refused"),
    "an activation of another library": (_activation("evil.Sigmoid"), "refused"),
    "tokens without number": (changed(TOKENIZER, model_max_length=["a", 1]), "refused"),
    "tokens that are text": (changed(TOKENIZER, model_max_length="many"), "refused"),
    "tokens less than none": (changed(TOKENIZER, model_max_length=-1), "refused"),
    "an activation in a list": (_activation(["torch.nn.modules.activation.Sigmoid"]), "refused"),
    "two outputs": (_two_outputs, "refused"),
    "a prompt before queries": (
        changed(SETTINGS, prompts={"query": "query: "}, default_prompt_name="query"),
        "refused",
    ),
    "settings in a list": (written(SETTINGS, "[]"), "refused"),
    "settings of deep nesting": (written(SETTINGS, DEEP), "refused"),
    "settings of a transformer in a list": (written(TRANSFORMER, "[]"), "refused"),
    "text in small letters": (changed(TRANSFORMER, do_lower_case=True), "refused"),
    "of no list of modules": (written(MODULES, "{}"), "refused"),
    "of modules that are numbers": (written(MODULES, "[1, 2]"), "refused"),
    "of another module": (
        written(
            MODULES,
            '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},'
            ' {"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.models.Dense"}]',
        ),
        "refused",
    ),
    "of a number that is a text": (changed(CONFIG, id2label="LABEL_0"), "refused"),
}


def surface(material: Material) -> Surface:
    return folder_surface("scores", material.scores, ask, CASES, (MODULES, SETTINGS, TRANSFORMER))
