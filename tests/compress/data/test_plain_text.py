"""Reading text alone, with the language of each."""

import json
from pathlib import Path

import pytest

from compress.data.plain_text import read_texts, text_files
from compress.errors import CompressError


def texts_of(*sources: object) -> list[tuple[str, str]]:
    return list(read_texts(text_files([str(source) for source in sources])))


def write_rows(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_file_has_a_text_a_line_and_its_language_in_its_name_or_before_it(tmp_path: Path):
    (tmp_path / "de.txt").write_bytes("\ufeffEins\r\nZwei\u2028drei\n\n  \nVier".encode())
    wanted = [("de", "Eins"), ("de", "Zwei\u2028drei"), ("de", "Vier")]
    assert texts_of(tmp_path / "de.txt") == wanted
    (tmp_path / "de.txt").rename(tmp_path / "news")
    assert texts_of(tmp_path / "news") == [("und", text) for _, text in wanted]
    assert texts_of(f"gsw={tmp_path / 'news'}") == [("gsw", text) for _, text in wanted]


@pytest.mark.parametrize(
    ("name", "language"),
    [("pt_BR.train.txt", "pt_BR"), ("eng_Latn.txt", "eng_Latn"), ("zh-Hans.jsonl", "zh-Hans"), ("dev.txt", "und"),
     ("test.jsonl", "und"), ("corpus.txt", "und"), ("Readme.txt", "und")],
)  # fmt: skip
def test_a_name_is_a_language_if_it_looks_like_one(tmp_path: Path, name: str, language: str):
    write_rows(tmp_path / name, {"text": "a"})
    assert {found for found, _ in texts_of(tmp_path / name)} == {language}


def test_rows_tell_their_languages_and_all_their_text_is_read(tmp_path: Path):
    path = write_rows(
        tmp_path / "fr.jsonl",
        {"text": "eins", "text_pair": "zwei", "lang": "de", "label": "x"},
        {"question": "Qui ?", "context": "Elle.", "tokens": 3},
        {"tokens": ["un", "mot"]},
        {"source": "one", "target": "один", "source_lang": "en", "target_lang": "ru"},
    )
    assert texts_of(path) == [
        ("de", "eins"), ("de", "zwei"), ("fr", "Qui ?"), ("fr", "Elle."),
        ("fr", "un mot"), ("en", "one"), ("ru", "один"),
    ]  # fmt: skip


def test_a_folder_is_read_with_all_below_it(tmp_path: Path):
    (tmp_path / "more").mkdir()
    (tmp_path / "de.txt").write_text("a\n")
    (tmp_path / "model.bin").write_bytes(b"\0")
    write_rows(tmp_path / "more" / "ja.jsonl", {"text": "b"})
    (tmp_path / "more" / "en.csv").write_text("text\nc\n")
    assert sorted(texts_of(tmp_path)) == [("de", "a"), ("en", "c"), ("ja", "b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"text\n\x00\x01", r"a\.txt:2: not text but binary data \(a zero byte\)"),
        ("a.txt", b"\x89PNG\r\n", r"a\.txt: not UTF-8 text \(invalid start byte at byte 0\)"),
        ("a.txt", "ä".encode("latin-1"), r"a\.txt: not UTF-8 text"),
        ("a.jsonl", b'{"label": "x"}\n', r"a\.jsonl:1: the row has no text; name its field one of text, "),
        ("a.jsonl", b'{"text": "\\ud83d"}\n', "half of a surrogate pair"),
        ("a.jsonl", b'{"text": "a", "lang": {}}\n', "field 'lang' must be a name"),
        ("a.jsonl", b"{\n", r"a\.jsonl:1: not a JSON object"),
    ],
)
def test_what_is_no_text_is_told_with_its_place(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CompressError, match=message):
        texts_of(tmp_path / name)


def test_what_is_not_there_is_told_before_anything_is_read(tmp_path: Path):
    with pytest.raises(CompressError, match=r"none\.txt: no such file or folder of text"):
        text_files([str(tmp_path / "none.txt")])
    with pytest.raises(CompressError, match=r"no text in this folder; its files must end in \.txt, \.jsonl"):
        text_files([str(tmp_path)])
