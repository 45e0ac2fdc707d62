"""Runs and bundles of vectors and scores in sentence-transformers 5 with its ONNX backend.

What version 6 wants for that cannot be imported beside the transformers that it wants.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

RUNS = Path(os.environ["COMPRESS_INTEROP"])
FOLDERS = ("{variant}", "bundle/models/cpu/{variant}/1")


def told(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text("utf-8"))


def folder_of(task: str, variant: str, folder: str) -> str:
    return str(RUNS / task / folder.format(variant=variant))


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", ["query", "passage"])
# Of the last layer sentence-transformers reads the weights in 32 bits, the graph has them in 8.
@pytest.mark.parametrize(("variant", "least"), [("onnx", 0.9999), ("onnx-int8", 0.999)])
def test_vectors_are_those_that_compress_gives(variant: str, least: float, kind: str, folder: str):
    wanted = told("embedding")
    model = SentenceTransformer(folder_of("embedding", variant, folder), device="cpu", backend="onnx")
    found = model.encode(wanted["texts"], prompt_name=kind)
    vectors = np.array(wanted["vectors"][variant][kind])
    assert found.shape == vectors.shape
    assert (found * vectors).sum(axis=1).min() >= least  # both of length one


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("variant", ["onnx", "onnx-int8"])
def test_scores_are_those_that_compress_gives(variant: str, folder: str):
    wanted = told("reranking")
    model = CrossEncoder(folder_of("reranking", variant, folder), device="cpu", backend="onnx")
    found = model.predict([(wanted["query"], passage) for passage in wanted["passages"]])
    assert found.tolist() == pytest.approx(wanted["scores"][variant], abs=1e-4)
