"""What is told of folders for browsers; `make interop` runs a browser."""

from __future__ import annotations

from bench.studies.browsers import InBrowser, browsers_table, question_of
from compress.serving.format import Description
from export.bundle.web.summary import WebExample, WebPack, WebVariant


def _pack(*, pairs: bool) -> WebPack:
    task = "reranking" if pairs else "embedding"
    model = Description(name="x", task=task, labels=[], runtime="ONNX Runtime", target="any", pairs=pairs, max_length=8)
    examples = [WebExample(lang="de", text="a", text_pair="b", way="query")]
    return WebPack(name="x", model=model, ways=[], variants=[], examples=examples)


def test_the_table_has_the_median_and_the_slow_end():
    variant = WebVariant(name="onnx-int8", dtype="q8", bytes=1_234_567)
    answers = [float(number) for number in range(1, 102)]
    drawn = browsers_table([InBrowser(_pack(pairs=True), variant, 1234.4, answers)], "Chromium 1", "a processor")
    assert [[str(cell) for cell in column.cells] for column in drawn.columns] == [
        ["reranking"],
        ["onnx-int8"],
        ["1.23"],
        ["1,234"],
        ["51.0"],
        ["96.0"],
    ]
    assert str(drawn.title) == "In Chromium 1, one thread of a processor"


def test_only_models_of_pairs_are_asked_with_two_texts():
    for pairs in (False, True):
        pack = _pack(pairs=pairs)
        question = question_of(pack, pack.examples[0])
        assert question == {"text": "a", "way": "query", **({"text_pair": "b"} if pairs else {})}
