"""What a user is told of an error that the system or a library has raised."""

import errno
import os

import pytest
from safetensors import SafetensorError

from compress.cli.outcome import _user_message


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number), "out/model.onnx")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (of_system(errno.ENOSPC), "out/model.onnx: No space left on device; free space or choose another --output"),
        (of_system(errno.EFBIG), "out/model.onnx: File too large; free space or choose another --output"),
        (of_system(errno.EEXIST), "out/model.onnx: File exists; move it away, or choose another --output"),
        (
            of_system(errno.EISDIR),
            "out/model.onnx: Is a directory; a folder lies where a file is meant; name a file",
        ),
        (of_system(errno.ENAMETOOLONG), "out/model.onnx: File name too long; give it a shorter name"),
        (of_system(errno.ENOENT), "out/model.onnx: No such file or directory; it is not there; see whether its name"),
        (of_system(errno.EIO), "out/model.onnx: Input/output error"),
        (OSError("We could not connect to the hub.\nCheck your internet"), "We could not connect to the hub."),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "Error while serializing: I/O error: No space left on device (os error 28); free space or choose another",
        ),
        (
            RuntimeError("[PyTorchStreamWriter] failed: File too large\nmore"),
            "[PyTorchStreamWriter] failed: File too large; free space or choose another --output",
        ),
    ],
)
def test_the_cause_is_told_and_what_helps(error: Exception, message: str):
    told = _user_message(error)
    assert told is not None
    assert told.startswith(message)
    assert "\n" not in told


def test_a_full_disk_is_seen_behind_the_error_of_a_library():
    try:
        try:
            raise of_system(errno.ENOSPC)
        except OSError as error:
            raise RuntimeError("saving failed") from error
    except RuntimeError as error:
        told = _user_message(error)
    assert told == "out/model.onnx: No space left on device; free space or choose another --output"


def test_our_own_mistakes_keep_their_traceback():
    assert _user_message(KeyError("name")) is None
