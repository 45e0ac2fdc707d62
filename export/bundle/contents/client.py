"""The client that comes with a bundle, for people to run and to copy from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from compress.models.load import load_tokenizer
from compress.serving.format import BundleModel
from compress.tasks.contract import Task
from compress.tasks.registry import TaskName
from compress.tasks.rows import Row

_FILES = resources.files("export.bundle.contents") / "files"
_SESSION = "from export.bundle.contents.files.session import opened\n"
_MODEL_FOLDER, _SECOND_INPUT, _ON_CPU, _ON_GPU = (
    "MODEL_FOLDER",
    "SECOND_INPUT",
    '["CPUExecutionProvider"]',
    '["CUDAExecutionProvider", "CPUExecutionProvider"]',
)


@dataclass(frozen=True)
class ClientExample:
    """Which model it asks, and whether it does so without this package, with ONNX Runtime and tokenizers alone."""

    model: BundleModel
    plain: bool


def client_script(task: TaskName, *, plain: bool) -> str:
    """The client of a task before it knows its model.

    :param plain: With ONNX Runtime and tokenizers alone, a script a task; otherwise the one of this package.
    """
    text = (_FILES / f"{task.replace('-', '_') if plain else 'with_compress'}.py").read_text("utf-8")
    session = (_FILES / "session.py").read_text("utf-8")
    return text.replace(_SESSION, session[session.index("import onnxruntime") :] + "\n")


def write_client(task: Task, name: TaskName, row: Row, models: Sequence[BundleModel], folder: Path) -> ClientExample:
    """Write `client.py`: with ONNX Runtime and tokenizers alone where these suffice.

    They do not for other runtimes, tokenizers without a tokenizer.json, and those that are told the languages.

    :param name: Of the task.
    :param row: One of the rows, which tells what a text comes with.
    :param models: Of the bundle, whose ``folder`` has their files already.
    """
    graph = next((model for model in models if model.runtime == "ONNX Runtime" and model.reads == "tokens"), None)
    plain = graph is not None and (folder / graph.folder / "tokenizer.json").exists()
    if plain and graph and task.GENERATES:
        plain = not hasattr(load_tokenizer(str(folder / graph.folder)), "tgt_lang")
    model = graph if plain and graph else models[0]
    text = client_script(name, plain=plain).replace(_MODEL_FOLDER, model.folder)
    text = text.replace(_SECOND_INPUT, "languages" if "LANGUAGES" in task.question(row) else "text_pairs")
    text = text.replace(_ON_CPU, _ON_GPU) if model.on_gpu else text
    (folder / "client.py").write_text(text, "utf-8")
    return ClientExample(model, plain)
