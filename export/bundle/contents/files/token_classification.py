"""Label words with ONNX Runtime and tokenizers alone: python client.py WORD WORD ..."""

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
ABOUT = json.loads((FOLDER / "compress.json").read_text("utf-8"))
SESSION = opened(FOLDER / "model.onnx")
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
TOKENIZER.enable_truncation(ABOUT["max_length"])
PREFIX = (ABOUT["prefix"] or "").format().split()
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def predict(words: list[str]) -> list[str]:
    """The label of each word: what its first token has."""
    labels = ABOUT["labels"]
    found = ["O" if "O" in labels else labels[0]] * len(words)
    read = [*PREFIX, *(unicodedata.normalize("NFC", word) for word in words)]
    encoded = TOKENIZER.encode(read, is_pretokenized=True)
    seen = set()
    for window in (encoded, *encoded.overflowing):  # long rows go on in another window
        feed = {value.name: np.array([getattr(window, ARRAYS[value.name])], np.int64) for value in SESSION.get_inputs()}
        for word, best in zip(window.word_ids, SESSION.run(["logits"], feed)[0][0].argmax(-1), strict=True):
            if word is not None and word >= len(PREFIX) and word not in seen:
                found[word - len(PREFIX)] = labels[best]
                seen.add(word)
    return found


if __name__ == "__main__":
    print(*(f"{word} {label}" for word, label in zip(sys.argv[1:], predict(sys.argv[1:]), strict=True)), sep="\n")
