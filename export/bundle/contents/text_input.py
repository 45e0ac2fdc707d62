"""Text in, label out: a classifier's graph with its tokenizer inside, by the operators of onnxruntime-extensions.

Of the tokenizers that those operators know, the byte-level byte-pair ones (Radford et al., 2019) give the same tokens
as the tokenizers library for any text. The operator for WordPiece makes unknown tokens of other parts of a word, the
one for SentencePiece breaks ties another way and knows no special tokens inside of a text: these are refused, and each
graph is compared with the tokenizer itself before it is accepted.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import CompressError
from compress.runtimes.onnx import onnx_session, text_operators
from compress.tasks.contract import TextSettings
from compress.tasks.rows import Row
from compress.tasks.usual import written_prefix

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto
    from transformers import PreTrainedTokenizerBase

_DOMAIN = "ai.onnx.contrib"
_LONG = 100_000  # characters
_CHECKED_AT_ONCE = 256
_ODD_TEXTS = (
    "",
    " ",
    "  two  spaces  ",
    "\t\r\n",
    "\u00a0\u2003\u3000",
    "line\u2028separator\u2029",
    "\u200b\u200d\ufeff",
    "😀",
    "👩‍👩‍👧‍👦 🇩🇪🇫🇷 👍🏽",
    "שלום עולם",
    "مرحبا بالعالم ١٢٣",
    "\u202eright to left\u202c",
    "e\u0301 a\u0323\u0308 o\u0308\u0323",
    "Z\u0338\u0321\u031ba\u0336l\u0337g\u0335o",
    "한국어 \u1112\u1161\u11ab",
    "ｆｕｌｌ ｗｉｄｔｈ ﬁ ½ ㎏ ①",
    "İstanbul ıI ß ẞ ſ ǅ",
    "Σίσυφος ΣΑΣ",
    "नमस्ते दुनिया",
    "ภาษาไทย ก็ํา",
    "日本語のテキスト。 中文，标点",
    "don't can't we'll U.S.A. 3.14 1,000",
    "under_score a-b—c–d",
    "“quotes” ‘x’ !!!???...",
    "$€£¥ ±×÷",
    "\\u0041 \\n",
    "<s> </s> <pad> <unk> <mask> [CLS] [SEP] [PAD] [UNK] [MASK]",
    "\ufffd \x01\x7f",
)


@dataclass(frozen=True)
class TokenizerParts:
    """What a byte-level tokenizer is made of.

    ``description`` is its tokenizer.json without what it puts around a text, ``before`` and ``after`` are those tokens,
    ``pad`` is what fills rows up, ``longest`` the number of tokens that a text is cut to, ``prefix`` what is written
    before it.
    """

    description: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    pad: int
    longest: int
    prefix: str


def add_text_model(
    source: Path, folder: Path, labels: Sequence[str], settings: TextSettings, rows: Sequence[Row]
) -> None:
    """Fill a folder with a variant of a classifier that reads text: input ``text``, string (batch,), outputs ``label``,
    string (batch,), and ``probabilities``, float32 (batch, classes).

    :param source: Folder of the variant that reads tokens.
    :param settings: What is read of a text.
    :param rows: The tokens of their texts are compared.
    :raises CompressError: If the tokenizer cannot be put into the graph, or gives other tokens there.
    """
    import onnx

    from compress.models.load import load_tokenizer

    tokenizer = load_tokenizer(str(source))
    tokens = tokens_model(tokenizer_parts(tokenizer, settings))
    check_tokens(tokens, tokenizer, settings, rows)
    for path in source.glob("model.onnx?*"):
        shutil.copy(path, folder / path.name)  # weights beside the graph
    model = onnx.load(source / "model.onnx", load_external_data=False)
    onnx.save(_joined(tokens, model, labels), folder / "model.onnx")


def odd_texts() -> list[str]:
    """Texts that tokenizers stumble over: empty, emoji, right-to-left, combining marks, 100,000 characters."""
    generator = random.Random(0)  # noqa: S311
    planes = ((0x20, 0x7F), (0x300, 0x36F), (0x21, 0xD7FF), (0xE000, 0x1FFFF))
    mixed = ["".join(chr(generator.randint(*generator.choice(planes))) for _ in range(30)) for _ in range(200)]
    long = ["".join(generator.choices("abc déf 日本 ع", k=_LONG)), "a" * _LONG, " " * _LONG]
    return [*_ODD_TEXTS, *mixed, *long]


def tokenizer_parts(tokenizer: PreTrainedTokenizerBase, settings: TextSettings) -> TokenizerParts:
    """Take a tokenizer apart.

    :raises CompressError: If it is not a byte-level byte-pair tokenizer, or has more to it than the operator knows.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {"model": {"type": "slow"}}
    kind, splitter = content["model"]["type"], json.dumps(content.get("pre_tokenizer"))
    if kind != "BPE" or "ByteLevel" not in splitter or content["normalizer"] is not None:
        raise CompressError(
            f"--text-input: the student's tokenizer ({kind}, not byte-level, or with a normalizer) cannot be put into "
            "the graph with exactly the same tokens; leave it out, or train the student another one "
            "(student.tokenizer.model: byte-level)"
        )
    if tokenizer.truncation_side != "right" or tokenizer.padding_side != "right":
        raise CompressError("--text-input: the student's tokenizer cuts or pads on the left; leave it out")
    plain, whole = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    start = next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    description = json.dumps({**content, "post_processor": None, "truncation": None, "padding": None})
    after = tuple(whole[start + len(plain) :])
    before, prefix = tuple(whole[:start]), written_prefix(settings)
    return TokenizerParts(description, before, after, tokenizer.pad_token_id, settings.max_length, prefix)


def check_tokens(
    tokens: ModelProto, tokenizer: PreTrainedTokenizerBase, settings: TextSettings, rows: Sequence[Row]
) -> None:
    """Compare the tokens of the graph with the tokenizer's, for the rows of every language and for odd texts.

    :raises CompressError: At the first text whose tokens differ.
    """
    session = onnx_session(tokens.SerializeToString(), operators=text_operators())
    prefix = written_prefix(settings)
    texts = [(f"language {row.lang}", row.text) for row in rows] + [("odd text", text) for text in odd_texts()]
    for start in range(0, len(texts), _CHECKED_AT_ONCE):
        batch = texts[start : start + _CHECKED_AT_ONCE]
        feed = {"text": np.array([text for _, text in batch], dtype=object)}
        found, masks = session.run(["input_ids", "attention_mask"], feed)
        read = [prefix + text for _, text in batch]
        wanted = tokenizer(read, truncation=True, max_length=settings.max_length)["input_ids"]
        for (origin, text), ids, mask, right in zip(batch, found, masks, wanted, strict=True):
            if ids[mask == 1].tolist() != right:
                raise CompressError(
                    f"--text-input: with the tokenizer in the graph, {text!r:.60} ({origin}) has other tokens than "
                    "with the tokenizer itself; leave it out"
                )


def tokens_model(parts: TokenizerParts) -> ModelProto:
    """From ``text``, string (batch,), to ``input_ids`` and ``attention_mask``, int64 (batch, tokens)."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        _token_nodes(parts),
        "tokens",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch_size"])],
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])
            for name in ("input_ids", "attention_mask")
        ],
        _prefix(parts) + _constants(
            zero=[0], one=[1], longest=[parts.longest], zero_number=0, one_number=1, pad=parts.pad,
            cut=[parts.longest - len(parts.before) - len(parts.after)], before=parts.before, after=parts.after,
        ),
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _constants(**values: int | Sequence[int]) -> list[TensorProto]:
    from onnx import numpy_helper

    return [numpy_helper.from_array(np.array(value, dtype=np.int64), f"text.{name}") for name, value in values.items()]


def _prefix(parts: TokenizerParts) -> list[TensorProto]:
    from onnx import numpy_helper

    return [numpy_helper.from_array(np.array([parts.prefix], dtype=object), "text.prefix")] if parts.prefix else []


def _token_nodes(parts: TokenizerParts) -> list[NodeProto]:
    """The operator pads texts with token 0 and cannot cut them: they go through it one by one."""
    from onnx import TensorProto, helper

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
        return helper.make_node(kind, [f"text.{name}" for name in inputs.split()], [f"text.{output}"], **attributes)

    one = "text.one_text"
    prefixed = [helper.make_node("StringConcat", ["text.prefix", one], ["text.prefixed"], domain=_DOMAIN)]
    body = helper.make_graph(
        [
            node("Unsqueeze", "number zero", "at"),
            helper.make_node("Gather", ["text", "text.at"], [one], axis=0),
            *(prefixed if parts.prefix else []),
            helper.make_node(
                "HfJsonTokenizer", ["text.prefixed" if parts.prefix else one], ["text.all"], domain=_DOMAIN,
                tokenizer_vocab=parts.description, tokenizer_config=_operator_settings(parts),
            ),
            node("Squeeze", "all zero", "row"),
            node("Slice", "row zero cut", "kept"),
            node("Concat", "before kept after", "ids", axis=0),
            node("Shape", "ids", "length"),
            node("Sub", "longest length", "missing"),
            node("Concat", "zero missing", "pads", axis=0),
            node("Pad", "ids pads pad", "padded"),
            node("Identity", "going_on", "goes_on"),
        ],
        "one text",
        [
            helper.make_tensor_value_info("text.number", TensorProto.INT64, []),
            helper.make_tensor_value_info("text.going_on", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("text.goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("text.padded", TensorProto.INT64, [parts.longest]),
            helper.make_tensor_value_info("text.length", TensorProto.INT64, [1]),
        ],
    )  # fmt: skip
    return [
        helper.make_node("Shape", ["text"], ["text.batch"]),
        node("Squeeze", "batch", "count"),
        helper.make_node("Loop", ["text.count", ""], ["text.rows", "text.lengths"], body=body),
        node("ReduceMax", "lengths", "widest", keepdims=0),
        node("Unsqueeze", "widest zero", "width"),
        helper.make_node("Slice", ["text.rows", "text.zero", "text.width", "text.one"], ["input_ids"]),
        node("Range", "zero_number widest one_number", "places"),
        node("Less", "places lengths", "inside"),
        helper.make_node("Cast", ["text.inside"], ["attention_mask"], to=TensorProto.INT64),
    ]


def _operator_settings(parts: TokenizerParts) -> str:
    """The operator wants names for tokens that it is then told not to add."""
    first = json.loads(parts.description)["added_tokens"][0]["content"]
    tokens = {f"{role}_token": first for role in ("unk", "bos", "eos", "pad")}
    return json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", **tokens, "add_bos_token": False, "add_eos_token": False}
    )


def _joined(tokens: ModelProto, model: ModelProto, labels: Sequence[str]) -> ModelProto:
    """The tokens' graph before the classifier's, the label after it."""
    from onnx import TensorProto, helper, numpy_helper

    graph: GraphProto = model.graph
    own = {value.name for value in graph.input}
    zeros = [helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"])] if "token_type_ids" in own else []
    after = [
        helper.make_node("Cast", ["logits"], ["text.logits"], to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["text.logits"], ["probabilities"], axis=-1),
        helper.make_node("ArgMax", ["text.logits"], ["text.best"], axis=-1, keepdims=0),
        helper.make_node("Gather", ["text.labels", "text.best"], ["label"], axis=0),
    ]
    names = numpy_helper.from_array(np.array(list(labels), dtype=object), "text.labels")
    joined = helper.make_graph(
        [*tokens.graph.node, *zeros, *graph.node, *after],
        "text",
        tokens.graph.input,
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["batch_size"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch_size", len(labels)]),
        ],
        [*tokens.graph.initializer, *graph.initializer, names],
    )
    opsets = [*model.opset_import, helper.make_opsetid(_DOMAIN, 1)]
    return helper.make_model(joined, opset_imports=opsets, ir_version=model.ir_version, functions=model.functions)
