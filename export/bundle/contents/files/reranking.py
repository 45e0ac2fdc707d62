"""Rank passages with ONNX Runtime and tokenizers alone: python client.py QUERY PASSAGE PASSAGE ..."""

import json
import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports to Microsoft unless told so beforehand
from export.bundle.contents.files.session import opened

FOLDER = Path(__file__).parent / "MODEL_FOLDER"
ABOUT, CONFIG = (json.loads((FOLDER / name).read_text("utf-8")) for name in ("compress.json", "config.json"))
SESSION = opened(FOLDER / "model.onnx")
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
TOKENIZER.enable_truncation(ABOUT["max_length"])
TOKENIZER.enable_padding(pad_id=CONFIG["pad_token_id"])
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
PREFIX = (ABOUT["prefix"] or "").format()
BATCH = 32


def rank(query: str, passages: list[str]) -> list[tuple[float, str]]:
    """The passages with their scores, the best first; in batches of similar length."""
    first, *others = (unicodedata.normalize("NFC", text).strip() for text in (query, *passages))
    order = sorted(range(len(others)), key=lambda number: len(others[number]))
    found: list[tuple[float, int]] = []
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        encoded = TOKENIZER.encode_batch([(PREFIX + first, others[number]) for number in numbers])
        wanted = {value.name: ARRAYS[value.name] for value in SESSION.get_inputs()}
        feed = {name: np.array([getattr(row, part) for row in encoded], np.int64) for name, part in wanted.items()}
        outputs = SESSION.run(["logits"], feed)[0][:, 0].astype(np.float64)
        scores = outputs if ABOUT["activation"] == "identity" else 1 / (1 + np.exp(-outputs))
        found += zip(scores.tolist(), numbers, strict=True)
    return [(score, passages[number]) for score, number in sorted(found, key=lambda entry: (-entry[0], entry[1]))]


if __name__ == "__main__":
    for score, passage in rank(sys.argv[1], sys.argv[2:]):
        print(f"{score:.4f}\t{passage}")
