"""A label that is lost altogether hides in accuracy, and shows in its own figures."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from compress.metrics.labels import label_agreement, label_figures, label_losses
from compress.tasks import text_classification, token_classification
from compress.tasks.rows import Row

LABELS = ["bad", "good", "rare"]
GENERATOR = np.random.default_rng(0)
WANTED = np.array(["rare"] * 10 + [*GENERATOR.choice(["bad", "good"], 990)])
PREDICTED = np.where(GENERATOR.random(1000) < 0.9, WANTED, "good")
LANGUAGES = ["de", "ja"] * 500
ROWS = [Row(text="", label=label, lang=lang) for label, lang in zip(WANTED.tolist(), LANGUAGES, strict=True)]


def test_figures_by_label_are_scikit_learns():
    found = label_figures(text_classification.label_counts(PREDICTED.tolist(), ROWS, LABELS), LANGUAGES)
    recalls, scores = (score(WANTED, PREDICTED, average=None, labels=LABELS) for score in (recall_score, f1_score))
    for label, recall, f1 in zip(LABELS, recalls, scores, strict=True):
        assert found[label].count == (label == WANTED).sum()
        assert found[label].recall.value == pytest.approx(recall, abs=1e-4)
        assert found[label].f1.value == pytest.approx(f1, abs=1e-4)
        japanese = np.array(LANGUAGES) == "ja"
        own = f1_score(WANTED[japanese], PREDICTED[japanese], average=None, labels=[label])[0]
        assert found[label].f1_by_language["ja"] == pytest.approx(own, abs=1e-4)
        assert found[label].f1_by_language["all"] == found[label].f1.value
        assert found[label].recall.low <= recall <= found[label].recall.high


def test_a_rare_label_that_is_lost_shows():
    lost = ["good" if label == "rare" else label for label in WANTED.tolist()]
    before, after = (text_classification.label_counts(said, ROWS, LABELS) for said in (WANTED.tolist(), lost))
    losses = label_losses(before, after)
    assert (losses["rare"].value, losses["bad"].value, losses["good"].value) == (1, 0, 0)
    assert losses["rare"].p_adjusted == pytest.approx(3 * 2 / 2**10, rel=0.01)
    agreed = label_agreement(text_classification.agreed(WANTED.tolist(), lost))
    assert (agreed["rare"].rows, agreed["rare"].agreement) == (10, 0)


def test_labels_of_tokens_are_kinds_of_spans_or_words():
    rows = [Row(text=["a"] * 4, label=["B-PER", "I-PER", "O", "B-LOC"], lang="de")]
    said = [["B-PER", "O", "O", "B-LOC"]]
    found = label_figures(token_classification.label_counts(said, rows, ["B-LOC", "B-PER", "I-PER", "O"]), ["de"])
    assert {name: figures.recall.value for name, figures in found.items()} == {"LOC": 1, "PER": 0}
    rows = [Row(text=["a"] * 3, label=["NOUN", "NOUN", "VERB"], lang="de")]
    counts = token_classification.label_counts([["NOUN", "VERB", "VERB"]], rows, ["NOUN", "VERB"])
    found = label_figures(counts, ["de"])
    assert {name: figures.recall.value for name, figures in found.items()} == {"NOUN": 0.5, "VERB": 1}
    assert found["NOUN"].count == 2


def test_agreement_on_words_counts_rows():
    found = label_agreement(token_classification.agreed([["A", "A", "O"], ["O"]], [["A", "O", "O"], ["O"]]))
    assert (found["A"].rows, found["A"].agreement) == (1, 0.5)
    assert (found["O"].rows, found["O"].agreement) == (2, 1.0)


def test_free_text_has_no_labels():
    assert label_figures(None, []) == {}
    assert label_losses(None, None) == {}
