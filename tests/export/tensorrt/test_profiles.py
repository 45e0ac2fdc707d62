"""Commands that build an engine again."""

import shlex

from compress.recipe.export import Profile, TensorRT
from export.tensorrt.profiles import rebuild_command, trtexec_command


def test_names_with_spaces_and_quotes_are_one_word_of_the_command():
    graph, engine = "my model's/model $(id).onnx", "it is.engine"
    settings = TensorRT(profiles=[Profile(batch=(1, 8, 32), length=(1, 32, 64))])
    again = shlex.split(rebuild_command(graph, "fp16", settings))
    assert again[:7] == ["compress", "export", "--onnx", graph, "--trt", "--precision", "fp16"]
    assert again[7:9] == ["--profile", "1:8:32,1:32:64"]
    assert shlex.split(trtexec_command(graph, engine, [], settings))[:3] == [
        "trtexec",
        f"--onnx={graph}",
        f"--saveEngine={engine}",
    ]
