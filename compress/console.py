"""What the user sees: progress on standard error, results on standard output, other libraries' chatter nowhere."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from compress.processes import is_main_process

console = Console(stderr=True, highlight=False, quiet=not is_main_process())


def say(message: str) -> None:
    """Print one line about what is going on to standard error."""
    console.print(message, markup=False, soft_wrap=True)


def progress(*more: ProgressColumn) -> Progress:
    """A progress bar on standard error; where that is no terminal, nothing is drawn: plain lines are left to `say`.

    :param more: Columns after the usual ones.
    """
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *more,
        console=console,
        transient=True,
        disable=not console.is_terminal or console.quiet,
    )


def quiet_libraries() -> None:
    """Silence warnings, notices and progress bars of the libraries for the rest of the process."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that PyTorch is not installed
    warnings.filterwarnings("ignore")
    for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir", "accelerate", "datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)


def quiet_transformers() -> None:
    """The same for transformers, whose logging can be set only once it is imported."""
    import transformers

    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()


@contextlib.contextmanager
def swallowed_output() -> Iterator[None]:
    """Keep what libraries print or log inside the block away from the user."""
    root_level = logging.root.level
    logging.root.setLevel(logging.CRITICAL)
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(root_level)
