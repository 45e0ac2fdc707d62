"""Folders of sentence-transformers, as they are and as they should not be; every pooling against that library's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import transformers
from sentence_transformers.sentence_transformer import modules

from compress.errors import CompressError
from compress.models.outputs import pooled
from compress.models.sentence_folder import MODES, read_head
from compress.models.sentence_layout import write_head
from compress.recipe.teacher import Embedding, PoolingMode, Teacher

CONFIG = transformers.BertConfig(hidden_size=8)
TRANSFORMER = {"path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
NORMALIZE = {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}
MEAN = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}


def write(folder: Path, listed: Any, **files: Any) -> Path:
    """A folder without weights; ``files`` are what is in it, by name with two underscores for a slash."""
    (folder / "modules.json").write_text(json.dumps(listed), "utf-8")
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content), "utf-8")
    return folder


@pytest.mark.parametrize("name", MODES)
def test_every_pooling_is_that_of_sentence_transformers(name: str):
    torch.manual_seed(0)
    states, mask = torch.randn(3, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    wanted = modules.Pooling(8, name)({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"]
    assert torch.allclose(pooled(states, mask, MODES[name]), wanted, atol=1e-6)
    assert set(MODES.values()) == set(get_args(PoolingMode))


def test_all_that_a_folder_says_is_read(tmp_path: Path):
    folder = write(
        tmp_path,
        [TRANSFORMER, POOLING, DENSE, NORMALIZE],
        **{"1_Pooling__config": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
        **{"2_Dense__config": {"in_features": 16, "out_features": 4, "activation_function": "torch.nn.Tanh"}},
        sentence_bert_config={"max_seq_length": 128, "do_lower_case": False},
        config_sentence_transformers={"prompts": {"query": "q: ", "document": ""}, "similarity_fn_name": "dot"},
    )
    head = read_head(folder, Teacher(), CONFIG)
    assert [module.kind for module in head.modules] == ["Pooling", "Dense", "Normalize"]
    assert (head.modules[0].modes, head.modules[1].activation) == (["first", "mean"], "Tanh")
    assert (head.prompts, head.similarity, head.max_length) == ({"query": "q: "}, "dot", 128)
    assert head.dimensions(8) == 4
    cut = read_head(folder, Teacher(embedding=Embedding(dimensions=2)), CONFIG)
    assert [module.kind for module in cut.modules] == ["Pooling", "Dense", "Dense", "Normalize"]
    assert cut.dimensions(8) == 2
    assert not read_head(folder, Teacher(embedding=Embedding(normalize=False)), CONFIG).normalizes


@pytest.mark.parametrize(
    ("listed", "files", "problem"),
    [
        ([TRANSFORMER], {}, "has no Pooling"),
        ([POOLING], {}, "begins with Pooling"),
        ({"a": 1}, {}, "is no list of modules"),
        ([{**TRANSFORMER, "path": "../elsewhere"}], {}, "names a folder that is elsewhere"),
        ([{**TRANSFORMER, "path": "0_Transformer"}, POOLING], {}, "its transformer lies in 0_Transformer"),
        ([TRANSFORMER, {"path": "1_CNN", "type": "sentence_transformers.models.CNN"}], {}, "names CNN, which is not"),
        (
            [TRANSFORMER, POOLING],
            {"1_Pooling__config": {"pooling_mode": ["mean", "median"]}},
            "pooling 'median' is not",
        ),
        (
            [TRANSFORMER, POOLING],
            {"1_Pooling__config": {"pooling_mode_best": True}},
            "'pooling_mode_best' is not known",
        ),
        ([TRANSFORMER, POOLING], {"1_Pooling__config": {"pooling_mode": 7}}, "pooling_mode 7 is no list of names"),
        ([TRANSFORMER, POOLING, POOLING], {}, "has Pooling, Pooling; what comes behind the transformer must begin"),
        ([TRANSFORMER, NORMALIZE, POOLING], {}, "has Normalize, Pooling; what comes behind the transformer"),
        ([TRANSFORMER, {**POOLING, "path": "2_Pooling"}], {}, "2_Pooling/config.json: missing"),
        ([TRANSFORMER, {**POOLING, "type": "mine.Pooling"}], {}, "'mine.Pooling' is code of its own"),
        ([TRANSFORMER, {**POOLING, "path": None}], {}, "a module has no path"),
        (
            [TRANSFORMER, POOLING],
            {"config_sentence_transformers": {"prompts": {"query": "q: "}, "default_prompt_name": "title"}},
            "names the default prompt 'title', and there is none",
        ),
        (
            [TRANSFORMER, POOLING],
            {"config_sentence_transformers": {"truncate_dim": -1}},
            "truncate_dim -1 leaves nothing",
        ),
        ([TRANSFORMER, POOLING], {"sentence_bert_config": {"max_seq_length": -1}}, "max_length: .* greater than 0"),
        (
            [TRANSFORMER, POOLING, DENSE],
            {"2_Dense__config": {"in_features": 8, "out_features": 4, "activation_function": "mine.Tanh"}},
            "the activation mine.Tanh of its 2_Dense is not known",
        ),
        ([TRANSFORMER, POOLING], {"config_sentence_transformers": {"prompts": [1]}}, "not as sentence-transformers"),
        ([TRANSFORMER, POOLING], {"config_sentence_transformers": {"truncate_dim": 9}}, "truncate_dim 9 is more than"),
        (
            [TRANSFORMER, POOLING],
            {"config_sentence_transformers": {"model_type": "CrossEncoder"}},
            "it is a CrossEncoder",
        ),
        ([TRANSFORMER, POOLING], {"sentence_bert_config": {"do_lower_case": True}}, "text put into small letters"),
        (
            [TRANSFORMER, POOLING],
            {"1_Pooling__config": {"include_prompt": False}, "config_sentence_transformers": {"prompts": {"a": "b"}}},
            "its pooling leaves prompts out",
        ),
        (
            [TRANSFORMER, POOLING, DENSE],
            {"2_Dense__config": {"in_features": 5, "out_features": 4}},
            "its Dense reads 5 numbers of a text and is given 8",
        ),
        (
            [TRANSFORMER, POOLING, DENSE],
            {"2_Dense__config": {"in_features": 8, "out_features": 4, "activation_function": "mine.Softplus"}},
            "the activation mine.Softplus of its 2_Dense is not known",
        ),
    ],
)
def test_what_is_not_known_is_refused_in_a_line(tmp_path: Path, listed: Any, files: dict[str, Any], problem: str):
    folder = write(tmp_path, listed, **{"1_Pooling__config": MEAN, **files})
    with pytest.raises(CompressError, match=problem):
        read_head(folder, Teacher(), CONFIG)


def test_poolings_stand_side_by_side_in_the_order_in_which_they_are_named_in_both_libraries(tmp_path: Path):
    folder = write(tmp_path, [TRANSFORMER, POOLING], **{"1_Pooling__config": {"pooling_mode": ["mean", "cls"]}})
    head = read_head(folder, Teacher(), CONFIG)
    assert head.modules[0].modes == ["mean", "first"]
    write_head(tmp_path, head, 8)
    again = modules.Pooling.load(str(tmp_path), subfolder="1_Pooling")
    assert list(again.pooling_mode) == ["mean", "cls"]
