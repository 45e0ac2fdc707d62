"""Vectors of texts with ONNX Runtime and tokenizers alone: python client.py query|passage TEXT TEXT ..."""

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
PROMPTS = ABOUT["prompts"] or {}
BATCH = 32


def prompt(kind: str | None) -> str:
    """What stands before a text of a kind, "query" or "passage"; none: what the model takes for granted."""
    names = ("passage", "document", "corpus") if kind == "passage" else (kind,)
    if kind in (None, "query", "passage"):
        names = (*names, ABOUT["default_prompt"])
        return str(next((PROMPTS[name] for name in names if name in PROMPTS), ""))
    return str(PROMPTS[kind])


def encode(texts: list[str], kind: str | None = None) -> np.ndarray:
    """The vectors of texts, float32 (texts, dimensions), in batches of similar length."""
    read = [prompt(kind) + unicodedata.normalize("NFC", text).strip() for text in texts]
    order = sorted(range(len(read)), key=lambda number: len(read[number]))
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        encoded = TOKENIZER.encode_batch([read[number] for number in numbers])
        wanted = {value.name: ARRAYS[value.name] for value in SESSION.get_inputs()}
        feed = {name: np.array([getattr(row, part) for row in encoded], np.int64) for name, part in wanted.items()}
        found.update(zip(numbers, SESSION.run(["sentence_embedding"], feed)[0], strict=True))
    return np.stack([found[number] for number in range(len(read))])


if __name__ == "__main__":
    print(json.dumps(encode(sys.argv[2:], sys.argv[1]).round(6).tolist()))
