"""A model that gives vectors, or scores, as sentence-transformers and those who follow it open its folder: written."""

from __future__ import annotations

from pathlib import Path

from compress.files import json_object
from compress.models.sentence_folder import (
    MODES,
    MODULES,
    OLD_MODES,
    SETTINGS,
    TOKENIZER_SETTINGS,
    TRANSFORMER_SETTINGS,
    SentenceHead,
    SentenceModule,
    modules_of,
)
from compress.runs.files import write_json


def write_head(folder: Path, head: SentenceHead, width: int) -> None:
    """Write what sentence-transformers (from 5 on) opens a folder by; weights lie in the modules' folders already.

    :param width: Of the transformer.
    """
    library = "sentence_transformers.models"
    listed: list[dict[str, object]] = [{"idx": 0, "name": "0", "path": "", "type": f"{library}.Transformer"}]
    for number, module in enumerate(head.modules, 1):
        place = module_folder(number, module)
        listed.append({"idx": number, "name": str(number), "path": place, "type": f"{library}.{module.kind}"})
        content: dict[str, object]
        if module.kind == "Pooling":
            modes = {old: MODES[new] in module.modes for old, new in OLD_MODES.items()}
            content = {"word_embedding_dimension": width, **modes, "include_prompt": True}
            if module.modes != [
                mode for mode in MODES.values() if mode in module.modes
            ]:  # another order than the old one
                names = {ours: theirs for theirs, ours in MODES.items()}
                content["pooling_mode"] = [names[mode] for mode in module.modes]
        elif module.kind == "Dense":
            content = {
                "in_features": module.width,
                "out_features": module.out,
                "bias": module.bias,
                "activation_function": f"torch.nn.modules.{_modules_of(module.activation)}.{module.activation}",
            }
        else:
            content = {"dimension": module.width} if module.kind == "LayerNorm" else {}
        (folder / place).mkdir(exist_ok=True)
        write_json(folder / place / "config.json", content)
    write_json(folder / MODULES, listed)
    told = {"prompts": head.prompts, "default_prompt_name": head.default_prompt}
    write_json(folder / SETTINGS, {**told, "similarity_fn_name": head.similarity or "cosine"})
    write_json(folder / TRANSFORMER_SETTINGS, {"max_seq_length": head.max_length, "do_lower_case": False})


def keep_length(folder: Path, tokens: int) -> None:
    """Let a folder say how many tokens of a text are read, where the clients of vectors and scores look for it."""
    for name, key in ((TRANSFORMER_SETTINGS, "max_seq_length"), (TOKENIZER_SETTINGS, "model_max_length")):
        write_json(folder / name, {**json_object(folder / name), key: tokens})


def module_folders(folder: Path) -> list[str]:
    """The folders of what comes after a transformer, as `write_head` names them; none where nothing does.

    :raises CompressError: If ``modules.json`` is not as it must be.
    """
    places = [module.get("path", "") for module in modules_of(folder)]
    return places[1:] if places[:1] == [""] else []  # a table of vectors is no transformer, and has a folder of its own


def module_folder(number: int, module: SentenceModule) -> str:
    """Where sentence-transformers keeps a module; the transformer has the number 0."""
    return f"{number}_{module.kind}"


def _modules_of(activation: str) -> str:
    return "linear" if activation == "Identity" else "activation"
