"""Text files and model folders of `compress trim`."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_bytes, altered_folder
from safetensors.numpy import load_file

from compress.data.plain_text import read_texts, text_files
from compress.errors import CompressError
from compress.models.load import load_tokenizer
from compress.recipe.file import load_recipe
from surfaces import models
from surfaces.rows import COLUMNS, good_rows, json_lines, write

LINES = ("12:30 Uhr", "3. März 2024", "2024年3月3日", "14,50 €", "", "  ", "日本語のテキスト")
SIGNS = ("\0", "\x1b[31m", "\u202e", "\ufeff", "\ud7ff", "😀", "\u0301" * 1000, "x" * 100_000, "[/]", "\r", "\u2028")
EMBEDDINGS = "model.embeddings.tok_embeddings.weight"


def ask(folder: Path) -> None:
    """Trim the model, and see that the text is split as before, into tokens with the weights that they had."""
    model, output = folder / "model", folder / "trimmed"
    teacher = load_recipe(None, {"teacher.model": str(model)}).teacher
    used = text_files([str(folder / "rows")])
    from compress.models.vocabulary.folder import trim_model

    try:
        trim_model(teacher, output, partial(read_texts, used), partial(read_texts, ()))
    except CompressError:
        if output.exists():
            raise WrongAnswer("what was refused left a folder behind") from None
        raise
    try:
        wanted = [text for file in used for text in _texts_of(file.path)]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise WrongAnswer(f"the text is accepted, but {error}") from error
    before, after = (load_tokenizer(str(each)) for each in (model, output))
    old, new = (load_file(each / "model.safetensors")[EMBEDDINGS] for each in (model, output))
    for text in wanted:
        numbers, others = (each(text[:2000])["input_ids"] for each in (before, after))
        if before.convert_ids_to_tokens(numbers) != after.convert_ids_to_tokens(others):
            raise WrongAnswer(f"{text!r:.200} is split otherwise")
        if not np.array_equal(old[numbers], new[others]):
            raise WrongAnswer(f"tokens of {text!r:.200} have other weights")


def _texts_of(path: Path) -> Iterator[str]:
    """The lines of a file, or the texts of its rows, read by the format's rules alone."""
    for line in path.read_bytes().decode("utf-8-sig").split("\n"):
        if line.strip():
            text = line if path.suffix == ".txt" else json.loads(line)["text"]
            yield " ".join(text) if isinstance(text, list) else text


def _lines(*lines: str) -> Callable[[Path], None]:
    return _file("de.txt", "\n".join(lines).encode("utf-8", "surrogatepass"))


def _file(name: str, content: bytes) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / "rows").mkdir()
        (folder / "rows" / name).write_bytes(content)

    return put


def _in_place(put: Callable[[Path], object]) -> Callable[[Path], None]:
    def replaced(folder: Path) -> None:
        _lines(*LINES)(folder)
        put(folder / "rows/de.txt")

    return replaced


CASES: dict[str, tuple[Callable[[Path], object], Wants]] = {
    "lines": (_lines(*LINES), "accepted"),
    "rows": (lambda folder: write(folder, "jsonl", {}), "accepted"),
    "an empty file": (_lines(), "refused"),
    "blank lines alone": (_lines("", " ", "\t"), "refused"),
    "lines that end as on Windows": (_file("de.txt", "\r\n".join(LINES).encode()), "accepted"),
    "a byte order mark": (_file("de.txt", "\ufeff12:30".encode()), "accepted"),
    "UTF-16": (_file("de.txt", "12:30 Uhr".encode("utf-16")), "refused"),
    "Latin 1": (_file("de.txt", "3. März".encode("latin-1")), "refused"),
    "zero bytes": (_lines("12:30", "a\0b"), "refused"),
    "a half of a surrogate pair": (_lines("\ud800"), "refused"),
    "a picture": (_file("de.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "refused"),
    "a line of a hundred million characters": (_file("de.txt", b"a" * 100_000_000), "refused"),
    "nothing that the tokenizer knows": (_lines("ກຂຄງຈ", "ꦲꦤꦕ"), "refused"),
    "rows without text": (_file("de.jsonl", b'{"label": "a", "lang": "de"}\n'), "refused"),
    "rows whose text is a number": (_file("de.jsonl", b'{"text": 5, "lang": "de"}\n'), "refused"),
    "rows of deep nesting": (_file("de.jsonl", DEEP.encode()), "refused"),
    "rows whose language is markup": (_file("de.jsonl", b'{"text": "12:30", "lang": "[/]"}\n'), "either"),
    "a file of another kind": (_file("de.docx", b"PK\x03\x04"), "refused"),
    **{f"in place of the text: {words}": (_in_place(put), "refused") for words, put in REPLACEMENTS.items()},
}


def surface(material: Material) -> Surface:
    def case(put: Callable[[Path], object]) -> Spoil:
        def spoil(folder: Path) -> None:
            shutil.copytree(material.model, folder / "model")
            put(folder)

        return spoil

    def draw(random_: random.Random, folder: Path) -> str:
        if random_.random() < 0.3:
            _lines(*LINES)(folder)
            return altered_folder(random_, folder / "model", material.model)
        shutil.copytree(material.model, folder / "model")
        return _altered_text(random_, folder)

    def model(alter: Callable[[Path], None]) -> Callable[[Path], None]:
        def altered(folder: Path) -> None:
            _lines(*LINES)(folder)
            alter(folder / "model")

        return altered

    cases = {name: (case(put), wants) for name, (put, wants) in CASES.items()}
    for name, (alter, wants) in models.CASES.items():  # of heads, labels and lengths nothing is asked
        if any(word in name for word in ("tokenizer", "weight", "configuration")):
            large = "too large" in name  # for what follows, but numbers
            cases[f"a model {name}"] = (case(model(alter)), "either" if large else wants)
    return Surface("trims", ask, cases, draw, draws=150, places=("trimming: ",))


def _altered_text(random_: random.Random, folder: Path) -> str:
    """Lines with odd signs, lines whose bytes are altered, or rows with an odd text."""
    kind = random_.choice(("signs", "bytes", "rows"))
    if kind == "rows":
        rows = good_rows("train")
        rows[random_.randrange(len(rows))][random_.choice(COLUMNS)] = random_.choice((*SIGNS, 5, None, ["a", "b"], [1]))
        write(folder, "jsonl", {"train": json_lines(rows)})
        return "odd rows"
    lines = [random_.choice((*LINES, *SIGNS)) + random_.choice(("", *SIGNS)) for _ in range(random_.choice((1, 3, 9)))]
    raw = "\n".join(lines if kind == "signs" else LINES).encode()
    words, content = (kind, raw) if kind == "signs" else altered_bytes(random_, raw)
    _file("de.txt", content)(folder)
    return words
