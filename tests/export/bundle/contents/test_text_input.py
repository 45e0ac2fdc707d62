"""Text in, label out: the tokens of the graph are the tokenizer's, or there is no graph."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime_extensions import get_library_path
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import BertWordPieceTokenizer, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress import load
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer
from compress.reports.bench import Report
from compress.runs.directory import Run
from compress.serving.format import read_bundle_manifest
from compress.tasks.rows import Row
from export.bundle.contents.text_input import check_tokens, odd_texts, tokenizer_parts, tokens_model
from export.bundle.stage import Wanted, run_bundle_stage

TEXTS = ["3,50 €", "12:30 Uhr", "2021年3月1日", "den 1. März", "twenty percent"] * 4
LONGEST = 24
READ = Data(max_length=LONGEST)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, NewTokenizer(model="byte-level", vocabulary_size=320, longest_piece=6), LONGEST)


def test_tokens_are_the_tokenizer_s_for_odd_texts_too(tokenizer: PreTrainedTokenizerFast):
    assert max(map(len, odd_texts())) == 100_000
    model = tokens_model(tokenizer_parts(tokenizer, READ))
    check_tokens(model, tokenizer, READ, [Row(text, "", "de") for text in TEXTS])


def test_a_prefix_is_put_before_the_text_inside_of_the_graph(tokenizer: PreTrainedTokenizerFast):
    asked = Data(max_length=LONGEST, prefix="query: ")
    model = tokens_model(tokenizer_parts(tokenizer, asked))
    check_tokens(model, tokenizer, asked, [Row(text, "", "de") for text in TEXTS])
    with pytest.raises(CompressError, match="has other tokens"):
        check_tokens(model, tokenizer, READ, [])


def test_a_text_whose_tokens_differ_is_found(tokenizer: PreTrainedTokenizerFast):
    model = tokens_model(tokenizer_parts(tokenizer, READ))
    other = train_tokenizer(TEXTS, NewTokenizer(model="byte-level", vocabulary_size=300), LONGEST)
    with pytest.raises(CompressError, match=r"'3,50 €' \(language de\) has other tokens than with the tokenizer"):
        check_tokens(model, other, READ, [Row(TEXTS[0], "", "de")])
    shorter = tokens_model(tokenizer_parts(tokenizer, Data(max_length=LONGEST - 1)))
    with pytest.raises(CompressError, match=r"\(odd text\)"):
        check_tokens(shorter, tokenizer, READ, [])


def test_tokenizers_that_the_operators_do_not_reproduce_are_refused(tokenizer: PreTrainedTokenizerFast):
    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(TEXTS, vocab_size=100, show_progress=False)
    wordpiece = PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, pad_token="[PAD]")
    composing = train_tokenizer(TEXTS, NewTokenizer(model="byte-level", vocabulary_size=300), LONGEST)
    composing.backend_tokenizer.normalizer = normalizers.NFC()
    for kind in (wordpiece, composing, train_tokenizer(TEXTS, NewTokenizer(vocabulary_size=120), LONGEST)):
        with pytest.raises(CompressError, match=r"--text-input: the student's tokenizer \((BPE|WordPiece), not byte-"):
            tokenizer_parts(kind, READ)


_OUTPUTS = {  # the operators write all of them, wanted or not
    "BertTokenizer": (TensorProto.INT64, ["ids", "types", "mask"]),
    "SentencepieceTokenizer": (TensorProto.INT32, ["ids", "starts"]),
}


def with_operator(kind: str, *constants: np.ndarray, **attributes) -> onnxruntime.InferenceSession:
    """One of the other operators alone, from ``text`` to its first output."""
    names = [f"constant_{number}" for number in range(len(constants))]
    integers, outputs = _OUTPUTS[kind]
    node = helper.make_node(kind, ["text", *names], outputs, domain="ai.onnx.contrib", **attributes)
    graph = helper.make_graph(
        [node],
        kind,
        [helper.make_tensor_value_info("text", TensorProto.STRING, [None])],
        [helper.make_tensor_value_info("ids", integers, [None])],
        [numpy_helper.from_array(array, name) for array, name in zip(constants, names, strict=True)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.contrib", 1)]
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def tokens_of(session: onnxruntime.InferenceSession, text: str) -> list[int]:
    return session.run(["ids"], {"text": np.array([text], dtype=object)})[0].tolist()


def test_wordpiece_has_other_tokens_in_the_graph():
    """Of a word with a part that is not in the vocabulary, the tokenizer makes one unknown token, the operator two."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "time", "##r"]
    own = BertWordPieceTokenizer({piece: number for number, piece in enumerate(vocabulary)})
    session = with_operator("BertTokenizer", vocab_file="\n".join(vocabulary), do_lower_case=1, strip_accents=1)
    assert tokens_of(session, "timer") == own.encode("timer").ids
    assert own.encode("times").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    assert len(tokens_of(session, "times")) == 4


def test_sentencepiece_has_other_tokens_in_the_graph():
    """The tokenizer knows the special tokens in a text, the operator reads their letters."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=40, hard_vocab_limit=False, minloglevel=2
    )
    trained = SentencePieceProcessor(model_proto=written.getvalue())
    pieces = [(trained.id_to_piece(number), trained.get_score(number)) for number in range(trained.get_piece_size())]
    own = Tokenizer(models.Unigram(pieces, unk_id=trained.unk_id()))
    own.add_special_tokens(["<s>", "</s>"])
    own.pre_tokenizer = pre_tokenizers.Metaspace()
    off = np.array([False])
    constants = [np.array([0], np.int64), np.array([0], np.float32), off, off, off]
    session = with_operator("SentencepieceTokenizer", *constants, model=written.getvalue())
    assert tokens_of(session, "12:30 Uhr") == own.encode("12:30 Uhr").ids
    assert tokens_of(session, "12:30 </s>") != own.encode("12:30 </s>").ids


def test_the_graph_gives_the_labels_of_its_parent(text_bundle: Path, text_run: Run):
    rows = load_data(text_run).splits["test"]
    texts = [*rows.column("text"), *odd_texts()]
    wanted = load(text_bundle, "onnx").predict(texts)
    found = load(text_bundle, "onnx-text").predict(texts)
    assert len({answer.prediction for answer in wanted}) == 4
    assert [answer.prediction for answer in found] == [answer.prediction for answer in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_a_text_at_whose_middle_the_graph_would_stop_is_refused(text_bundle: Path):
    model = load(text_bundle, next(m.name for m in read_bundle_manifest(text_bundle).models if m.reads == "text"))
    with pytest.raises(CompressError, match="text 1 has a NUL character, where the tokenizer in the graph would stop"):
        model.predict(["12:30", "12\x0030"])


def test_the_graph_needs_onnx_runtime_and_its_extensions_alone(text_bundle: Path):
    (model,) = [model for model in read_bundle_manifest(text_bundle).models if model.reads == "text"]
    assert model.folder == "models/cpu/onnx-text/1"
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    session = onnxruntime.InferenceSession(text_bundle / model.folder / "model.onnx", options)
    texts = np.array(["", "12:30", "ein sehr langer Text " * 50], dtype=object)
    labels, probabilities = session.run(["label", "probabilities"], {"text": texts})
    assert labels.shape == (3,)
    assert probabilities.shape == (3, 4)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_what_cannot_be_done_is_said_before_any_work(run: Run, report: Report):
    with pytest.raises(CompressError, match="cannot be put into the graph with exactly the same tokens"):
        run_bundle_stage(run, Wanted(("onnx",), text_input=True), report)
