"""Find the labels of texts with ONNX Runtime and tokenizers alone: python client.py TEXT [TEXT_PAIR]"""

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
PREFIX = (ABOUT["prefix"] or "").format()
THRESHOLDS = np.array(ABOUT["thresholds"] or [0.5] * len(ABOUT["labels"]))


def predict(rows: list[tuple[str, ...]]) -> list[list[str]]:
    """The labels of each text, or pair of texts."""
    texts = [tuple(unicodedata.normalize("NFC", text).strip() for text in row) for row in rows]
    texts = [(PREFIX + first, *second) for first, *second in texts]
    encoded = TOKENIZER.encode_batch([row if len(row) > 1 else row[0] for row in texts])
    arrays = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    wanted = {value.name: arrays[value.name] for value in SESSION.get_inputs()}
    feed = {name: np.array([getattr(row, part) for row in encoded], np.int64) for name, part in wanted.items()}
    logits = SESSION.run(["logits"], feed)[0].astype(np.float64)
    said = np.log(THRESHOLDS / (1 - THRESHOLDS)) <= logits
    return [[label for label, holds in zip(ABOUT["labels"], row, strict=True) if holds] for row in said]


if __name__ == "__main__":
    print(*predict([tuple(sys.argv[1:])])[0], sep="\n")
