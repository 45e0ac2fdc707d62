"""What a bundle's clients write before a text, seen by a graph whose output is the number of its first token."""

import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.models.load import save_tokenizer
from compress.models.tokenizers import train_tokenizer
from compress.recipe.recipe import Recipe
from compress.recipe.training import NewTokenizer
from compress.runs.files import write_json
from compress.serving.client import open_model
from compress.serving.format import DESCRIPTION, description_of
from export.bundle.contents.client import client_script


def first_token_graph() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["input_ids", "one"], ["first"], axis=1),
        helper.make_node("Cast", ["first"], ["logits"], to=TensorProto.FLOAT),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "tokens"])]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1])
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    graph = helper.make_graph(nodes, "first token", inputs, [output], [one])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("prefix", [None, "query: "])
def test_clients_write_the_prefix(prefix: str | None, tmp_path: Path):
    tokenizer = train_tokenizer(["query: wo liegt Köln"] * 5, NewTokenizer(vocabulary_size=100), 64)
    recipe = Recipe.model_validate({"task": "regression", "data": {"source": "x", "prefix": prefix}})
    (folder := tmp_path / "model").mkdir()
    onnx.save(first_token_graph(), folder / "model.onnx")
    save_tokenizer(tokenizer, folder)
    write_json(folder / "config.json", {"pad_token_id": tokenizer.pad_token_id})
    about = description_of(recipe, [], [], name="onnx", runtime="ONNX Runtime")
    write_json(folder / DESCRIPTION, about.model_dump(mode="json", by_alias=True))
    (tmp_path / "client.py").write_text(client_script("regression", plain=True).replace("MODEL_FOLDER", "model"))
    wanted = tokenizer((prefix or "") + "Köln")["input_ids"][1]
    assert runpy.run_path(str(tmp_path / "client.py"))["predict"]([("Köln",), ("Köln",)]) == [wanted, wanted]
    assert [answer.prediction for answer in open_model(folder).predict(["Köln"])] == [wanted]
