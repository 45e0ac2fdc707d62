"""A run's vectors beside what sentence-transformers' own int8 recipes make of the model that it starts from.

``python -m bench.studies.sentence_recipes RUN [--output FOLDER]``: the extras that make these forms cannot be installed
beside transformers 5, so they are made here by the libraries that the extras call, with the settings that
``export_dynamic_quantized_onnx_model`` (for this processor) and ``export_static_quantized_openvino_model`` give them;
OpenVINO's ranges come from the run's first 300 training texts, in place of 128 English sentences of film reviews, and
the pooling is part of the graphs. `compress bench` then measures them beside the run's own. The extra `studies` brings
what it needs.
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from bench.studies.product import run_command
from bench.studies.students import show_students
from compress.console import swallowed_output
from compress.data.encode import pad
from compress.data.stage import load_data
from compress.machine import cpu_features
from compress.models.load import load_model, load_tokenizer
from compress.reports.bench import read_report
from compress.runs.directory import Run, find_run
from compress.runtimes.openvino import OPENVINO_MODEL
from compress.student.summary import original_name
from compress.tasks.contract import Task
from export.onnx.plain import export_onnx, save_companions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TEXTS = 300
NAMES = ("recipe-onnx-int8", "recipe-openvino-int8")


def study(
    run: Annotated[Path, typer.Argument(help="A run of embedding that has variants.")],
    output: Annotated[Path, typer.Option(help="Folder of the forms.")] = Path("artifacts/sentence-recipes"),
) -> None:
    """Make both forms, measure them beside the run's, and print what came of it."""
    found = find_run(run, Path("artifacts"))
    if not found.task.VECTORS:
        raise typer.BadParameter(f"{run}: a run of {found.recipe.task}; name one whose model gives vectors")
    if output.exists():
        raise typer.BadParameter(f"{output} is there already; name another folder with --output, or remove it")
    if find_spec("nncf") is None:
        raise typer.BadParameter("nncf is not installed; install the extra `studies`")
    for name in NAMES:
        write_recipe(name, found, output / name)
    run_command("bench", found.folder, *(word for name in NAMES for word in ("--variant", f"{name}={output / name}")))
    show_students({"": read_report(found.folder / "bench/report.json")})


def write_recipe(name: str, run: Run, folder: Path) -> None:
    """A form for ONNX Runtime or OpenVINO, with the tokenizer of the model that the run starts from."""
    source = run.path_of(original_name(run))
    folder.mkdir(parents=True)
    save_companions(source, folder)
    if "openvino" in name:
        model = load_model(run.task, source, [], run.trusts_code).eval()
        _quantise_with_nncf(run.task, model, _padded_texts(run, source), folder / OPENVINO_MODEL)
        return
    with TemporaryDirectory() as scratch:
        export_onnx(run.task, source, Path(scratch), [])
        _quantise_with_onnxruntime(Path(scratch) / "model.onnx", folder / "model.onnx")


def _quantise_with_onnxruntime(plain: Path, path: Path) -> None:
    """As Optimum's ``AutoQuantizationConfig`` for AVX2 (unsigned weights), or for AVX-512 with VNNI or without."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with swallowed_output():
        quantize_dynamic(
            plain,
            path,
            per_channel=True,
            weight_type=QuantType.QInt8 if cpu_features().avx512_f else QuantType.QUInt8,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False, "MatMulConstBOnly": True},
        )


def _quantise_with_nncf(task: Task, model: PreTrainedModel, feeds: list[dict[str, np.ndarray]], path: Path) -> None:
    """As Optimum's ``OVQuantizationConfig``, without settings, on what OpenVINO itself makes of the PyTorch model:
    what NNCF makes of an ONNX graph, where attention lies in parts, is of no use."""
    import nncf
    import openvino
    import torch

    names, (output,) = list(feeds[0]), task.OUTPUTS

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.model(**dict(zip(names, inputs, strict=True)))[output]
            return found

    with swallowed_output():
        example = tuple(torch.from_numpy(array) for array in feeds[0].values())
        graph = openvino.convert_model(Positional(), example_input=example, input=[[-1, -1]] * len(names))
        for value, name in zip(graph.inputs, names, strict=True):
            value.set_names({name})
        graph.outputs[0].set_names({output})
        quantised = nncf.quantize(
            graph,
            nncf.Dataset(feeds),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(feeds),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.DISABLE),
        )
        openvino.save_model(quantised, path, compress_to_fp16=False)


def _padded_texts(run: Run, model: Path) -> list[dict[str, np.ndarray]]:
    """Questions and paragraphs to train on, one at a time, filled up to the most tokens that a text may have."""
    tokenizer, longest = load_tokenizer(model, run.trusts_code), run.recipe.data.max_length

    def filled(name: str, array: np.ndarray) -> np.ndarray:
        filling = tokenizer.pad_token_id if name == "input_ids" else 0
        return np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=filling)

    rows = list(islice(load_data(run).splits["train"], _TEXTS))
    examples = run.task.encoder(tokenizer, run.recipe.data, [])(rows)[:_TEXTS]
    feeds = (pad([example], tokenizer.pad_token_id) for example in examples)
    return [{name: filled(name, array) for name, array in feed.items()} for feed in feeds]


if __name__ == "__main__":
    typer.run(study)
