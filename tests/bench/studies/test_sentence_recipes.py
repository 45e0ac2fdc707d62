"""What sentence-transformers' recipes make of a model, made without its extras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_sentence_models as small
from sentence_transformers import SentenceTransformer

from bench.studies.sentence_recipes import NAMES, write_recipe
from compress.cli import commands
from compress.data.encode import pad
from compress.metrics.vectors import cosines
from compress.models.load import load_tokenizer
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict


@pytest.mark.parametrize("name", NAMES)
def test_a_form_gives_the_models_vectors_with_the_error_of_eight_bits(name: str, tmp_path: Path):
    if "openvino" in name:
        pytest.importorskip("nncf", reason="nncf comes with the extra `studies`")
    model = small.write_sentence_model(tmp_path / "theirs", ("mean",), prompts=small.PROMPTS)
    rows = small.write_rows(tmp_path / "rows.jsonl", small.texts(60))
    run = commands.taken_run(model, str(rows), {}, tmp_path / "runs", in_json=True)
    write_recipe(name, run, tmp_path / name)
    texts = [row["text"] for row in small.texts(20)]
    wanted = SentenceTransformer(str(model), device="cpu").encode(texts)
    tokenizer = load_tokenizer(tmp_path / name)
    predict = load_predict(tmp_path / name, run.task, Search.of(run.recipe), threads=1)
    found = np.concatenate([predict(pad([tokenizer(text)], tokenizer.pad_token_id)) for text in texts])
    assert 0.95 < cosines(found, wanted).min() < 0.999999
