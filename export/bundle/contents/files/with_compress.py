"""Ask the model with `compress.load`: python client.py TEXT [TEXT_PAIR or, for translation, from-to as de-en]"""

import sys
from pathlib import Path
from typing import Any

from compress import load

MODEL = load(Path(__file__).parent / "MODEL_FOLDER")


def predict(text: Any, second: str | None = None) -> Any:
    """What the model says of a text."""
    more = {} if second is None else {"SECOND_INPUT": [second]}
    return MODEL.predict([text], **more)[0].prediction


if __name__ == "__main__":
    print(predict(*sys.argv[1:3]))
