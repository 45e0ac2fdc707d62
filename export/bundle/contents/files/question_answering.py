"""Answer questions with ONNX Runtime and tokenizers alone: python client.py QUESTION CONTEXT"""

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
TOKENIZER.enable_truncation(ABOUT["max_length"], stride=ABOUT["max_length"] // 4, strategy="only_second")
PREFIX = (ABOUT["prefix"] or "").format()
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def predict(question: str, context: str) -> str:
    """The likeliest span of at most thirty tokens, in any window of the context; none where that is likelier by far."""
    question, context = (unicodedata.normalize("NFC", text).strip() for text in (question, context))
    encoded, best, null = TOKENIZER.encode(PREFIX + question, context), (-np.inf, ""), np.inf
    for window in (encoded, *encoded.overflowing):
        feed = {value.name: np.array([getattr(window, ARRAYS[value.name])], np.int64) for value in SESSION.get_inputs()}
        start, end = (logits[0] for logits in SESSION.run(["start_logits", "end_logits"], feed))
        null = min(null, start[0] + end[0])
        inside = [at for at, side in enumerate(window.sequence_ids) if side == 1]
        for first in inside:
            last = max(range(first, min(first + 30, inside[-1] + 1)), key=lambda at: end[at])
            span = context[window.offsets[first][0] : window.offsets[last][1]]
            best = max(best, (start[first] + end[last], span), key=lambda found: found[0])
    return "" if any(null - best[0] > threshold for threshold in ABOUT["thresholds"]) else best[1]


if __name__ == "__main__":
    print(predict(*sys.argv[1:3]))
