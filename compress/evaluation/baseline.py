"""The baseline that a transformer has to be held against: TF-IDF with logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

from compress.data.stage import DataSet
from compress.data.table import RowTable
from compress.tasks.contract import Prediction

BASELINE = "TF-IDF"


def baseline_predictions(data: DataSet, labelled_languages: Sequence[str] | None) -> list[Prediction]:
    """What a linear model of character n-grams predicts for the test rows: cheap to fit and hard to beat."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def texts(rows: RowTable) -> list[str]:
        return [f"{row.text} {row.text_pair or ''}" for row in rows]

    rows = data.labelled("train", labelled_languages)
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=2, max_features=200_000, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=100, solver="lbfgs"),
    )
    model.fit(texts(rows), rows.column("label"))
    return list(model.predict(texts(data.splits["test"])).tolist())
