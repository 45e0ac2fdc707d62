"""Bundles of vectors and scores as fastembed's custom models, where neither this package nor PyTorch is needed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from fastembed.rerank.cross_encoder import TextCrossEncoder

RUNS = Path(os.environ["COMPRESS_INTEROP"])
VARIANTS = ("onnx", "onnx-int8")
NOWHERE = ModelSource(hf="ours/model")
"""Where fastembed would look, were it not told a folder."""


def told(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_vectors_are_those_that_compress_gives(variant: str):
    wanted, folder = told("embedding"), RUNS / "embedding/bundle/models/cpu" / variant / "1"
    TextEmbedding.add_custom_model(
        model=f"ours/{variant}",
        pooling=PoolingType.DISABLED,
        normalization=False,
        sources=NOWHERE,
        dim=len(wanted["vectors"][variant]["query"][0]),
        model_file="model.onnx",
    )
    model = TextEmbedding(f"ours/{variant}", specific_model_path=str(folder))
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text("utf-8"))["prompts"]
    for kind, vectors in wanted["vectors"][variant].items():
        found = np.array(list(model.embed([prompts[kind] + text for text in wanted["texts"]])))
        assert (found * np.array(vectors)).sum(axis=1).min() >= 0.9999


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_are_those_that_compress_gives(variant: str):
    wanted, folder = told("reranking"), RUNS / "reranking/bundle/models/cpu" / variant / "1"
    TextCrossEncoder.add_custom_model(model=f"ours/{variant}", sources=NOWHERE, model_file="model.onnx")
    model = TextCrossEncoder(f"ours/{variant}", specific_model_path=str(folder))
    outputs = np.array(list(model.rerank(wanted["query"], wanted["passages"])))
    assert (1 / (1 + np.exp(-outputs))).tolist() == pytest.approx(wanted["scores"][variant], abs=1e-4)
