"""What a user is told of an error that the system or a library has raised."""

import errno
import os
import sys

import pytest
import typer
from safetensors import SafetensorError

from compress.cli.outcome import _user_message, finish
from compress.contract import Contract


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


def test_output_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(sys.stdout, "flush", full)
        with pytest.raises(typer.Exit) as ended:
            finish(Contract, in_json=True, verbose=False)
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "error: No space left on device; free space or choose another --output\n"


def test_whoever_reads_the_output_may_stop(monkeypatch: pytest.MonkeyPatch):
    def gone() -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    with monkeypatch.context() as patched:
        patched.setattr(sys.stdout, "flush", gone)
        with pytest.raises(BrokenPipeError):
            finish(Contract, in_json=False, verbose=False)
