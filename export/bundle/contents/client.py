"""The client that comes with a bundle, for people to run and to copy from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from compress.models.load import load_tokenizer
from compress.serving.format import BundleModel
from compress.tasks.contract import Task

_MODEL_FOLDER, _ON_CPU, _ON_GPU = (
    "MODEL_FOLDER",
    '["CPUExecutionProvider"]',
    '["CUDAExecutionProvider", "CPUExecutionProvider"]',
)


@dataclass(frozen=True)
class Example:
    """Which model it asks, and whether it does so without this package, with ONNX Runtime and tokenizers alone."""

    model: BundleModel
    plain: bool


def write_example(task: Task, name: str, models: Sequence[BundleModel], folder: Path) -> Example:
    """Write `client.py`: with ONNX Runtime and tokenizers alone where these suffice.

    They do not for other runtimes, tokenizers without a tokenizer.json, and those that are told the languages.

    :param name: Of the task.
    """
    graph = next((model for model in models if model.runtime == "ONNX Runtime" and model.reads == "tokens"), None)
    plain = graph is not None and (folder / graph.folder / "tokenizer.json").exists()
    if plain and graph and task.GENERATES:
        plain = not hasattr(load_tokenizer(str(folder / graph.folder)), "tgt_lang")
    model = graph if plain and graph else models[0]
    script = name.replace("-", "_") if plain else "with_compress"
    file = resources.files("export.bundle.contents") / "files" / f"{script}.py"
    text = file.read_text("utf-8").replace(_MODEL_FOLDER, model.folder)
    text = text.replace(_ON_CPU, _ON_GPU) if model.target.startswith("cuda") else text
    (folder / "client.py").write_text(text, "utf-8")
    return Example(model, plain)
