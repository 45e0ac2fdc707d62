"""Both decoders of a translator as one model of OpenVINO that holds keys and values itself, with all weights once.

Its inputs are those that Optimum's ``OVModelForSeq2SeqLM`` gives: the last token of each sequence, from which sequence
before each one goes on (``beam_idx``), and what the encoder said. Keys and values of the source are computed in the
first step after a reset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compress.runtimes.generation import DECODER, DECODER_WITH_PAST
from compress.runtimes.openvino import BEAM_ORIGINS

_PAST, _PRESENT, _OF_SOURCE = "past_key_values", "present", ".encoder."
_REFUSAL = "one_token_of_each_sequence_at_a_time"  # what OpenVINO names where it is given more


def stateful_decoder(core: Any, folder: Path) -> Any:
    """The ``openvino.Model`` of a folder's two decoders.

    :param core: OpenVINO's entry point.
    :param folder: With graphs of ONNX, plain, fused or quantised.
    """
    import openvino
    from openvino import opset13 as operators

    first, following = (core.read_model(folder / name) for name in (DECODER, DECODER_WITH_PAST))
    inputs = {value.any_name: value for value in following.inputs}
    given = {name: value.get_node() for name, value in inputs.items() if not name.startswith(_PAST)}
    for value in first.inputs:
        _hand_on(value, given.setdefault(value.any_name, value.get_node()).output(0))
    origins = operators.parameter([-1], np.int32)
    origins.output(0).set_names({BEAM_ORIGINS})
    batch = operators.gather(operators.shape_of(given["input_ids"]), np.array([0]), np.int64(0))
    sinks = []
    for name, value in inputs.items():
        if not name.startswith(_PAST):
            continue
        said = name.replace(_PAST, _PRESENT, 1)
        heads, width = (value.partial_shape[axis].get_length() for axis in (1, 3))
        if _OF_SOURCE in name:
            found = _what_gives(first, said)
            begun = operators.reshape(found, np.array([0, heads, -1, width]), special_zero=True)
            past = kept = held = operators.read_value(begun, name, np.float32, value.partial_shape)
        else:
            none = operators.concat([batch, np.array([heads, 0, width])], axis=0)
            held = operators.read_value(operators.broadcast(np.float32(0), none), name, np.float32, value.partial_shape)
            past, kept = operators.gather(held, origins, np.int64(0)), _what_gives(following, said)
        _hand_on(value, past.output(0))
        sinks.append(operators.assign(kept, name))
    _leave_out_empty_masks(following)
    _take_one_token(given["input_ids"])
    (logits,) = (value.get_node() for value in following.outputs if "logits" in value.names)
    return openvino.Model([logits], sinks, [*given.values(), origins], "decoder")


def _hand_on(old: Any, new: Any) -> None:
    """Let all that read one value read another."""
    if old.get_node() is not new.get_node():
        for use in old.get_target_inputs():
            use.replace_source_output(new)


def _what_gives(model: Any, name: str) -> Any:
    """The node whose only output a model gives under a name."""
    return model.output(name).get_node().input_value(0).get_node()


def _leave_out_empty_masks(model: Any) -> None:
    """Attention that sees everything comes with one zero as its mask; where keys and values are held, OpenVINO's
    kernels want none, or one for each token."""
    from openvino import opset13 as operators

    for node in model.get_ops():
        given = node.input_values()
        if node.get_type_name() == "ScaledDotProductAttention" and len(given) == 4 and not given[3].partial_shape.rank:
            unmasked = operators.scaled_dot_product_attention(*given[:3])
            _hand_on(node.output(0), unmasked.output(0))


def _take_one_token(tokens: Any) -> None:
    """Refuse more than one token of a sequence, for which the graph has no mask: clients make every length possible."""
    from openvino import opset13 as operators

    uses = tokens.output(0).get_target_inputs()
    one = operators.reshape(tokens, np.array([0, 1]), special_zero=True, name=_REFUSAL)
    for use in uses:
        use.replace_source_output(one.output(0))
