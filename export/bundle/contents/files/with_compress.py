"""Ask the model with `compress.load`: python client.py TEXT [TEXT_PAIR or, for translation, from-to as de-en]"""

import sys
from pathlib import Path

from compress import load

MODEL = load(Path(__file__).parent / "MODEL_FOLDER")


def predict(text, second=None):
    """What the model says of a text."""
    second = None if second is None else [second]
    if MODEL.description.task == "translation":
        return MODEL.predict([text], languages=second)[0].prediction
    return MODEL.predict([text], second)[0].prediction


if __name__ == "__main__":
    print(predict(*sys.argv[1:3]))
