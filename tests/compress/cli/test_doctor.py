from pathlib import Path

from compress.cli.doctor import examine


def test_the_doctor_tells_whether_sentencepiece_files_can_be_read(tmp_path: Path):
    report = examine(tmp_path)
    (found,) = [ability for ability in report.abilities if ability.what == "read tokenizers of SentencePiece files"]
    assert found.available, found.note
    assert report.packages["sentencepiece"]
    assert report.packages["protobuf"]
