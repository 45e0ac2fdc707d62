"""Built-in data for other tasks than the classification of single texts."""

from compress.data.builtin import cldr
from compress.data.builtin import derived as cldr_tasks


def test_words_are_the_expressions_and_their_kinds():
    known = {(row["lang"], row["text"]): row["label"] for row in cldr.generate(0)["test"]}
    rows = cldr_tasks.generate_words(0)["test"]
    assert len({row["lang"] for row in rows}) == 14
    for row in rows[:200]:
        assert len(row["tokens"]) == len(row["labels"])
        spans: list[tuple[str, list[str]]] = []
        for token, label in zip(row["tokens"], row["labels"], strict=True):
            if label.startswith("B-"):
                spans.append((label[2:], []))
            if label != "O":
                spans[-1][1].append(token)
        spaced = {(lang, " ".join(text.split())): kind for (lang, text), kind in known.items()}
        assert all(spaced[row["lang"], " ".join(tokens)] == kind for kind, tokens in spans)
        assert 1 <= len(spans) <= 4


def test_pairs_are_an_expression_and_its_kind_or_another():
    known = {(row["lang"], row["text"]): row["label"] for row in cldr.generate(0)["validation"]}
    rows = cldr_tasks.generate_pairs(0)["validation"]
    for row in rows:
        assert (known[row["lang"], row["text"]] == row["text_pair"]) == (row["label"] == "yes")
    assert 0.4 < sum(row["label"] == "yes" for row in rows) / len(rows) < 0.6
    assert cldr_tasks.generate_pairs(0)["validation"] == rows
