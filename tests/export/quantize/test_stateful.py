"""A translator's two decoders as one of OpenVINO, which holds keys and values itself."""

import shutil
from pathlib import Path

import numpy as np
import onnx_ir
import openvino
import pytest
from small_translators import TOKENS

from compress.errors import CompressError
from compress.runtimes.generation import (
    DECODER,
    ENCODER,
    OnnxDecoder,
    Search,
    generate_tokens,
    open_decoder,
)
from compress.runtimes.openvino import OPENVINO_DECODER, OPENVINO_ENCODER, OpenVinoDecoder, mark_precision
from compress.targets import resolve_target
from export.onnx.fusion import fuse_graphs
from export.onnx.weights import weight_bytes
from export.quantize.calibration import translating
from export.quantize.int8 import quantize_static_int8
from export.quantize.openvino import convert_openvino_bf16, convert_openvino_int8
from export.quantize.stateful import stateful_decoder

ROWS, LENGTH, WRITTEN = 12, 9, 16


def padded_sources() -> dict[str, np.ndarray]:
    mask = (np.arange(LENGTH)[None] < LENGTH - np.arange(ROWS)[:, None] % 6).astype(np.int64)
    return {"input_ids": np.random.default_rng(0).integers(4, TOKENS, (ROWS, LENGTH)) * mask, "attention_mask": mask}


def prompts(decoder, tokens: int) -> np.ndarray:
    """What decoders are given: their first token, and others."""
    others = np.random.default_rng(1).integers(4, TOKENS, (ROWS, tokens - 1))
    return np.concatenate([np.full((ROWS, 1), decoder.tokens.start), others], axis=1)


@pytest.fixture(scope="module", params=["m2m_100", "mt5"])
def graphs(request, exported_translator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Graphs of ONNX, plain and fused, and what they are in OpenVINO in 32 bits."""
    plain, root = exported_translator(request.param), tmp_path_factory.mktemp(request.param)
    folders = {"plain": plain, "fused": root / "fused"}
    folders["fused"].mkdir()
    fuse_graphs(plain, folders["fused"])
    core = openvino.Core()
    for name, source in list(folders.items()):
        folder = folders[f"{name} in OpenVINO"] = root / f"openvino-{name}"
        folder.mkdir()
        model = stateful_decoder(core, source)
        mark_precision(model, "f32")
        openvino.save_model(core.read_model(source / ENCODER), folder / OPENVINO_ENCODER, compress_to_fp16=False)
        openvino.save_model(model, folder / OPENVINO_DECODER, compress_to_fp16=False)
        shutil.copy(plain / "config.json", folder)
    return folders


@pytest.mark.parametrize("kind", ["plain", "fused"])
@pytest.mark.parametrize("beams", [1, 3])
def test_it_writes_what_the_graphs_write(graphs: dict[str, Path], kind: str, beams: int):
    own, found = open_decoder(graphs["plain"]), open_decoder(graphs[f"{kind} in OpenVINO"])
    assert isinstance(found, OpenVinoDecoder)
    sources, search = padded_sources(), Search(beams, 1.0, WRITTEN)
    for asked in (sources, {**sources, "prompt": prompts(own, 3)[:, 1:]}):  # and nothing of the first is left
        wanted = generate_tokens(own, asked, search, WRITTEN)
        assert generate_tokens(found, asked, search, WRITTEN).tolist() == wanted.tolist()


@pytest.mark.parametrize("kind", ["plain", "fused"])
def test_its_logits_are_those_of_the_graphs(graphs: dict[str, Path], kind: str):
    own, found = OnnxDecoder(graphs["plain"]), OpenVinoDecoder(graphs[f"{kind} in OpenVINO"])
    (wanted, _), (logits, _) = (one.begin(padded_sources(), prompts(own, 8)) for one in (own, found))
    assert logits.shape == (ROWS, 8, TOKENS)
    assert np.abs(logits - wanted).max() < 1e-4 * wanted.std()


def test_more_than_one_token_at_a_time_is_refused(graphs: dict[str, Path]):
    """Optimum gives all tokens of a prompt at once, which OpenVINO would read as if each saw those after it.

    Where OpenVINO has one processor its check of shapes is not heard, and it gives logits of no sequence.
    """
    model = openvino.Core().read_model(graphs["plain in OpenVINO"] / OPENVINO_DECODER)
    model.reshape({"input_ids": [-1, -1]})
    request = openvino.compile_model(model, "CPU").create_infer_request()
    width = model.input("encoder_hidden_states").partial_shape[2].get_length()
    given = {
        "encoder_hidden_states": np.zeros((1, 3, width), np.float32),
        "encoder_attention_mask": np.ones((1, 3), np.int64),
        "beam_idx": np.zeros(1, np.int32),
    }
    refused = "one_token_of_each_sequence_at_a_time"
    try:
        told = f"{refused}: {request.infer({'input_ids': np.full((1, 2), 5), **given})['logits'].shape}"
        wanted = f"{refused}: (0, 1, {TOKENS})"
    except RuntimeError as error:
        told, wanted = str(error), refused
    assert wanted in told
    assert request.infer({"input_ids": np.full((1, 1), 5), **given})["logits"].shape == (1, 1, TOKENS)


@pytest.fixture
def marian(exported_translator) -> Path:
    return exported_translator("marian")


def test_int8_loses_no_more_than_the_same_ranges_in_onnx_runtime(marian: Path, tmp_path: Path):
    sources, target = padded_sources(), resolve_target("auto")
    fused, static, made = (tmp_path / name for name in ("fused", "static", "made"))
    for folder in (fused, static, made):
        folder.mkdir()
    fuse_graphs(marian, fused)
    calibrate = translating([sources], Search(1, 1.0, WRITTEN))
    quantize_static_int8(fused, static, target, calibrate, "minmax")
    convert_openvino_int8(fused, made, target, calibrate, "minmax")
    own = OnnxDecoder(marian)
    wanted, other, found = (
        one.begin(sources, prompts(own, 6))[0] for one in (own, OnnxDecoder(static), OpenVinoDecoder(made))
    )
    assert 0 < np.abs(found - wanted).mean() < 1.5 * np.abs(other - wanted).mean() < 0.3 * wanted.std()
    weights = (marian / "model.onnx_data").stat().st_size
    assert sum(path.stat().st_size for path in made.glob("*.bin")) < 0.45 * weights  # with two tables of embeddings


def test_files_in_bf16_say_so_and_have_all_weights_once(marian: Path, tmp_path: Path):
    convert_openvino_bf16(marian, tmp_path)
    assert {path.name for path in tmp_path.glob("openvino*.xml")} == {OPENVINO_ENCODER, OPENVINO_DECODER}
    for name, graph in ((OPENVINO_ENCODER, ENCODER), (OPENVINO_DECODER, DECODER)):
        model = openvino.Core().read_model(tmp_path / name)
        assert model.get_rt_info(["compress", "inference_precision"]).value == "bf16"
        weights = weight_bytes(onnx_ir.load(marian / graph))
        assert (tmp_path / name).with_suffix(".bin").stat().st_size < 0.6 * weights
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled.get_property("KV_CACHE_PRECISION") == openvino.Type.bf16  # not 8 bits, as by itself


def test_files_that_openvino_cannot_read_are_named(graphs: dict[str, Path], tmp_path: Path):
    folder = shutil.copytree(graphs["plain in OpenVINO"], tmp_path / "copied")
    path = folder / OPENVINO_DECODER
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CompressError, match=rf"{OPENVINO_DECODER}: OpenVINO cannot run it \(.+\); make the folder or"):
        OpenVinoDecoder(folder)
