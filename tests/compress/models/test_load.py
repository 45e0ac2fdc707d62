"""Loading: what is not whole, not a number, or does not belong together is refused in a line."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    MarianConfig,
    MBartConfig,
    ModernBertConfig,
    MT5Config,
    T5Config,
    XLMRobertaConfig,
)

from compress.errors import CompressError
from compress.models.checks import check_finite, longest_input
from compress.models.load import load_config, load_model, load_teacher, load_tokenizer, save_tokenizer
from compress.models.tokenizers import sentencepiece_problem, train_tokenizer
from compress.recipe.teacher import Teacher
from compress.recipe.training import NewTokenizer
from compress.tasks.registry import TaskName, task_named

CLASSIFICATION = task_named("text-classification")
LABELS = ["a", "b", "c"]
LENGTH = 16


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT for three labels, and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "sound"
    tokenizer = train_tokenizer(["Grüße aus München", "東京都の天気"] * 20, NewTokenizer(vocabulary_size=100), LENGTH)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        pad_token_id=None,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "model"))


def refused(words: str):
    return pytest.raises(CompressError, match=re.escape(words))


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **fields) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def without(*parts: str):
    return lambda weights: {key: value for key, value in weights.items() if not any(part in key for part in parts)}


def as_type(kind: torch.dtype, part: str = ""):
    return lambda weights: {key: value.to(kind) if part in key else value for key, value in weights.items()}


def with_value(value: float):
    def change(weights):
        weights["bert.encoder.layer.1.output.dense.bias"][3] = value
        return weights

    return change


def load(folder: Path, fine_tune: bool, labels=LABELS, max_length: int = LENGTH):
    settings = Teacher(model=str(folder), fine_tune=fine_tune)
    return load_teacher(CLASSIFICATION, settings, labels, max_length)


@pytest.mark.parametrize("fine_tune", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("layer.1.attention.self.key"),
            "its files lack weights (bert.encoder.layer.1.attention.self.key.bias",
        ),
        (
            without("bert."),
            "its files lack weights (bert.embeddings.LayerNorm.bias and ",
        ),
        (
            lambda weights: {f"other.{key}": value for key, value in weights.items()},
            "its files lack weights (bert.embeddings.LayerNorm.bias and ",
        ),
        (as_type(torch.int32), " are stored as I32: quantised, or damaged; name the model as it was before"),
        (as_type(torch.int8, "layer.1.output.dense.weight"), "output.dense.weight' are stored as I8: quantised"),
        (as_type(torch.float8_e4m3fn, "dense.weight"), "are stored as F8_E4M3: quantised, or damaged"),
        (with_value(float("nan")), "1 of the 16 weights 'bert.encoder.layer.1.output.dense.bias' are infinite or not"),
        (with_value(float("inf")), "1 of the 16 weights 'bert.encoder.layer.1.output.dense.bias' are infinite or not"),
    ],
)
def test_weights_that_are_missing_or_no_numbers_are_refused(model: Path, fine_tune: bool, change, message: str):
    change_weights(model, change)
    with refused(message):
        load(model, fine_tune)


@pytest.mark.parametrize("fine_tune", [False, True])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": 3}, "its files lack weights (bert.encoder.layer.2.attention"),
        ({"num_hidden_layers": 1}, "its files have more layers than its config.json says (bert.encoder.layer.1."),
        ({"num_hidden_layers": 0}, "its files have more layers than its config.json says (bert.encoder.layer.0."),
        ({"intermediate_size": 24}, "weights have another shape than its config.json says (bert.encoder.layer.0.inter"),
        ({"vocab_size": 400}, "another shape than its config.json says (bert.embeddings.word_embeddings.weight)"),
        ({"vocab_size": 20}, "the model has embeddings of 20 tokens (vocab_size in its config.json)"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "its weights are quantised; name the model as it"),
        (
            {"model_type": "nonesuch"},
            "config.json says model_type: nonesuch, which this transformers does not know",
        ),
        ({"model_type": "clip"}, "the model cannot be made"),
    ],
)
def test_a_config_json_that_is_another_models_is_refused(model: Path, fine_tune: bool, fields, message: str):
    change_config(model, **fields)
    with refused(message):
        load(model, fine_tune)


@pytest.mark.parametrize(
    ("problem", "task", "message"),
    [
        (
            "multi_label_classification",
            "text-classification",
            "its head is for multi-label-classification (problem_type: multi_label_classification in its config.json)",
        ),
        (
            "single_label_classification",
            "multi-label-classification",
            "its head is for text-classification (BertForSequenceClassification in its config.json); choose that task",
        ),
        (
            "regression",
            "text-classification",
            "its head is for regression (problem_type: regression in its config.json)",
        ),
        (None, "regression", "its head is for text-classification (BertForSequenceClassification in its config.json)"),
        (None, "token-classification", "its head is for text-classification (BertForSequenceClassification in its"),
    ],
)
def test_a_head_is_for_the_problem_that_its_configuration_names(
    model: Path, problem: str | None, task: TaskName, message: str
):
    change_config(model, problem_type=problem, architectures=["BertForSequenceClassification"])
    with refused(message):
        load_teacher(task_named(task), Teacher(model=str(model), fine_tune=False), LABELS, LENGTH)
    loaded, _ = load_teacher(task_named(task), Teacher(model=str(model), fine_tune=True), LABELS, LENGTH)
    assert loaded.config.problem_type == task_named(task).PROBLEM_TYPE  # a new head is trained for it


def test_a_head_that_tells_no_problem_is_for_the_one_that_is_asked_for(model: Path):
    change_config(model, problem_type=None, architectures=["BertForSequenceClassification"])
    several = task_named("multi-label-classification")
    loaded, _ = load_teacher(several, Teacher(model=str(model), fine_tune=False), LABELS, LENGTH)
    assert loaded.config.problem_type == "multi_label_classification"


def test_a_new_head_is_for_those_who_train_it(model: Path):
    change_weights(model, without("classifier", "pooler"))
    with refused(
        "its files lack the head (bert.pooler.dense.bias and 3 more), which would be random; name a model that"
    ):
        load(model, fine_tune=False)
    with refused("take its vectors (--task embedding), or have `compress distill` train one"):
        load(model, fine_tune=False)
    loaded, _ = load(model, fine_tune=True, labels=["x", "y"])
    assert loaded.config.id2label == {0: "x", 1: "y"}
    body = load_file(model / "model.safetensors")
    assert torch.equal(
        loaded.state_dict()["bert.encoder.layer.1.output.dense.bias"], body["bert.encoder.layer.1.output.dense.bias"]
    )


def test_a_head_for_other_labels_is_exchanged_in_fine_tuning_alone(model: Path):
    assert load(model, fine_tune=True, labels=["v", "w", "x", "y"])[0].config.num_labels == 4
    with refused("another shape than its config.json says (classifier.bias and 1 more)"):
        load(model, fine_tune=False, labels=["v", "w", "x", "y"])


def test_a_pretrained_model_that_predicts_words_gets_a_head(model: Path):
    config = AutoModelForSequenceClassification.from_pretrained(model).config
    AutoModelForMaskedLM.from_config(config).save_pretrained(model)
    assert load(model, fine_tune=True)[0].classifier.out_features == 3


def test_half_precision_is_trained_in_full_and_padding_follows_the_tokenizer(model: Path):
    change_weights(model, as_type(torch.bfloat16))
    change_config(model, dtype="bfloat16")
    loaded, tokenizer = load(model, fine_tune=False)
    assert {weights.dtype for weights in loaded.parameters()} == {torch.float32}
    assert loaded.config.dtype == torch.float32
    assert loaded.config.pad_token_id == tokenizer.pad_token_id == 0
    loaded.save_pretrained(model / "again")
    assert {values.dtype for values in load_file(model / "again/model.safetensors").values()} == {torch.float32}


OWN_CODE = """
from transformers import BertConfig

class OwnConfig(BertConfig):
    model_type = "own"
"""


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place for the code of models that no other test sees, before or after."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        del sys.modules[name]


@pytest.mark.usefixtures("own_modules")
def test_code_of_a_model_is_run_where_it_is_trusted(model: Path):
    (model / "own.py").write_text(OWN_CODE, "utf-8")
    change_config(model, model_type="own", auto_map={"AutoConfig": "own.OwnConfig"})
    with refused("it brings code of its own, which is run only where that is asked for; read it, then set"):
        load(model, fine_tune=True)
    assert type(load_config(model, trust_remote_code=True)).__name__ == "OwnConfig"


@pytest.mark.parametrize(
    "names", [{"0": "a", "7": "b", "2": "c"}, {"0": "a", "1": "a", "2": "c"}, {"0": {}, "1": "b", "2": "c"}]
)
def test_labels_are_numbered_without_gaps_and_named_once(model: Path, names: dict[str, str]):
    change_config(model, id2label=names)
    with refused("id2label in its config.json must number its labels from 0, each once"):
        load_model(CLASSIFICATION, str(model), LABELS)


def test_a_runs_own_model_has_the_labels_of_its_data(model: Path):
    assert load_model(CLASSIFICATION, str(model), LABELS).config.num_labels == 3
    with refused("its labels (a, b, c …) are not the data's (a, c, b …)"):
        load_model(CLASSIFICATION, str(model), ["a", "c", "b"])


def test_rows_longer_than_a_model_can_read_are_refused_before_its_weights_are_read(model: Path):
    (model / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        CompressError, match=r"data.max_length: 33 tokens are more than .*model can read; it has 32 pos"
    ):
        load(model, fine_tune=True, max_length=33)
    with refused("the model cannot be loaded"):
        load(model, fine_tune=True, max_length=32)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (BertConfig(max_position_embeddings=512), 512),
        (XLMRobertaConfig(max_position_embeddings=514), 512),
        (MBartConfig(max_position_embeddings=1024), 1024),
        (MarianConfig(max_position_embeddings=512, pad_token_id=58100), 512),
        (ModernBertConfig(max_position_embeddings=8192), 8192),
        (DebertaV2Config(relative_attention=True, position_biased_input=False), None),
        (T5Config(), None),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_positions_are_counted_as_the_architecture_counts_them(config, wanted: int | None):
    class_of = {"marian": "AutoModelForSeq2SeqLM"}.get(config.model_type, "AutoModelForSequenceClassification")
    import transformers

    with torch.device("meta"):
        assert longest_input(getattr(transformers, class_of).from_config(config)) == wanted


def test_positions_that_begin_after_another_padding_are_refused(model: Path):
    config = AutoModelForSequenceClassification.from_pretrained(model).config
    sizes = {name: getattr(config, name) for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
    other = XLMRobertaConfig(**sizes, num_attention_heads=2, intermediate_size=32, pad_token_id=1)
    AutoModelForSequenceClassification.from_config(other).save_pretrained(model)
    with refused("its tokenizer pads with token 0, its config.json says pad_token_id: 1"):
        load(model, fine_tune=True)


def test_weights_are_numbers_after_training_too(model: Path):
    loaded, _ = load(model, fine_tune=False)
    check_finite("teacher", loaded, "lower the learning rate")
    with torch.no_grad():
        loaded.classifier.weight[0, :2] = float("nan")
    with refused("teacher: 2 of the 48 weights 'classifier.weight' are infinite or not a"):
        check_finite("teacher", loaded, "lower the learning rate")


def test_pickled_weights_and_adapters_are_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with refused("pickled weights only (pytorch_model.bin), which can run code"):
        load(tmp_path, fine_tune=True)
    (tmp_path / "adapter_config.json").write_text("{}")
    with refused("it holds an adapter; merge it into its model and save that"):
        load(tmp_path, fine_tune=True)


def test_a_missing_tokenizer_is_said(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with refused("the tokenizer is missing; put tokenizer.json beside"):
        load_tokenizer(str(tmp_path))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece file, numbered as T5's are."""
    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["Grüße aus München", "東京都の天気", "привет мир"] * 30),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    return folder / "spiece.model"


@pytest.mark.parametrize("told", [{}, {"tokenizer_class": "T5Tokenizer"}])
def test_a_sentencepiece_file_alone_is_a_tokenizer(pieces: Path, tmp_path: Path, told: dict[str, str]):
    MT5Config().save_pretrained(tmp_path)
    shutil.copy(pieces, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    tokenizer = load_tokenizer(str(tmp_path))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    for text in ("Grüße мир", "東京"):
        assert tokenizer(text)["input_ids"] == [*reference.encode(text), tokenizer.eos_token_id]
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert (tmp_path / "saved/tokenizer.json").is_file()


def test_a_sentencepiece_file_that_cannot_be_read_here_says_why(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert sentencepiece_problem() is None
    monkeypatch.setitem(sys.modules, "sentencepiece.sentencepiece_model_pb2", None)
    monkeypatch.delattr(sentencepiece, "sentencepiece_model_pb2", raising=False)
    MT5Config().save_pretrained(tmp_path)
    shutil.copy(pieces, tmp_path)
    with refused("the tokenizer cannot be loaded (sentencepiece cannot be imported: "):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_without_its_vocabulary_is_not_taken_for_an_empty_one(model: Path):
    (model / "tokenizer.json").unlink()
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    with refused("the tokenizer's vocabulary is missing; put tokenizer.json, or its SentencePiece file, beside"):
        load_tokenizer(str(model))


@pytest.mark.parametrize("longest", [["a", 1], "many", -1])
def test_a_longest_text_that_is_no_number_of_tokens_is_refused(model: Path, longest: object):
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "model_max_length": longest}), "utf-8")
    with pytest.raises(CompressError, match=r"model_max_length .+ of its tokenizer_config.json is no number of tokens"):
        load_tokenizer(model)


def test_what_a_folder_does_not_tell_of_its_tokenizer_is_named(model: Path):
    change_config(model, model_type="nonesuch")
    (model / "tokenizer_config.json").write_text("{}")
    with refused("no padding token; set pad_token in its tokenizer_config.json; it names no tokenizer_class: put"):
        load_tokenizer(str(model))
    (model / "tokenizer_config.json").unlink()
    with refused("no padding token; set pad_token in its tokenizer_config.json; tokenizer_config.json is missing"):
        load_tokenizer(str(model))


@pytest.mark.parametrize(
    ("folder", "inside", "message"),
    [
        (
            "models--org--own",
            "snapshots/main",
            "it is what the hub's client keeps of org/own: name org/own, or a folder in",
        ),
        ("nothing", "text", "; name one that save_pretrained wrote, or its teacher.subfolder"),
        ("ner", "gliner_config.json", "one of GLiNER's, whose models transformers does not load; name a token class"),
    ],
)
def test_a_folder_that_is_no_model_s_says_what_to_name_instead(tmp_path: Path, folder: str, inside: str, message: str):
    place = tmp_path / folder
    (place / inside).mkdir(parents=True)
    with refused("not a model folder (config.json is missing)") as error:
        load_config(place)
    assert message in str(error.value)
