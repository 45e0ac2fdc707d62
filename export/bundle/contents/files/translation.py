"""Translate with ONNX Runtime and tokenizers alone, the most likely token each time: python client.py de-en TEXT"""

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
ENCODER, DECODER = (opened(FOLDER / f"{side}_model.onnx") for side in ("encoder", "decoder"))
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
TOKENIZER.enable_truncation(ABOUT["max_length"])


def predict(languages: str, text: str) -> str:
    """The translation; `compress.load` remembers keys and values of the tokens before, and searches with beams."""
    source, target = (ABOUT["language_codes"].get(name, name) for name in languages.split("-"))
    asking = ABOUT["prefix"].format(source=source, target=target) if ABOUT["prefix"] else f">>{target}<< "
    asking = asking if ABOUT["prefix"] or asking.strip() in TOKENIZER.get_vocab() else ""
    ids = np.array([TOKENIZER.encode(asking + unicodedata.normalize("NFC", text).strip()).ids], np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    states, written = ENCODER.run(None, feed)[0], [CONFIG["decoder_start_token_id"]]
    while len(written) <= ABOUT["max_length"] and (len(written) == 1 or written[-1] != CONFIG["eos_token_id"]):
        prompt = {"input_ids": np.array([written], np.int64), "encoder_hidden_states": states}
        logits = DECODER.run(["logits"], {**prompt, "encoder_attention_mask": feed["attention_mask"]})[0][0, -1]
        logits[CONFIG["pad_token_id"]] = -np.inf
        written.append(int(logits.argmax()))
    return TOKENIZER.decode(written[1:]).strip()


if __name__ == "__main__":
    print(predict(*sys.argv[1:3]))
