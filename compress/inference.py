"""Running a model folder, whatever it holds: numpy arrays in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from compress.data.encode import Encoded, batches_by_length, pad
from compress.errors import CompressError

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From padded inputs, int64 (rows, tokens), to logits, float32 (rows, labels)."""


def load_predict(folder: Path, threads: int | None = None) -> Predict:
    """Load a model folder: ONNX where it holds ``model.onnx``, else PyTorch.

    :param threads: Threads of one run; none for the runtime's own choice.
    """
    return load_onnx(folder, threads) if (folder / "model.onnx").exists() else load_torch(folder, threads)


def load_onnx(folder: Path, threads: int | None = None) -> Predict:
    """Open an ONNX Runtime session on the CPU.

    :raises CompressError: If ONNX Runtime is not installed or refuses the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise CompressError("onnxruntime is not installed; install the extra `cpu` (or `gpu`)") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise CompressError(f"{folder / 'model.onnx'}: ONNX Runtime refuses it ({error})") from None
    names = {value.name for value in session.get_inputs()}

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return session.run(["logits"], {name: array for name, array in inputs.items() if name in names})[0]

    return predict


def load_torch(folder: Path, threads: int | None = None) -> Predict:
    """Load a sequence classification model with PyTorch, on the GPU where there is one."""
    import torch
    from transformers import AutoModelForSequenceClassification

    if threads:
        torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True)
    return predict_with(model)


def predict_with(model) -> Predict:
    """Wrap a PyTorch model that is in memory already."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return model(**tensors).logits.float().cpu().numpy()

    return predict


def predict_rows(
    predict: Predict,
    encoded: Sequence[Encoded],
    pad_id: int,
    batch_size: int = 64,
    advance: Callable[[int], object] = lambda rows: None,
) -> np.ndarray:
    """Logits of all rows in their order, float32 (rows, labels); batches are made by length.

    :param advance: Told the number of rows after each batch.
    """
    logits: np.ndarray | None = None
    for indices in batches_by_length(encoded, batch_size):
        output = predict(pad([encoded[index] for index in indices], pad_id))
        if logits is None:
            logits = np.empty((len(encoded), output.shape[1]), dtype=np.float32)
        logits[indices] = output
        advance(len(indices))
    if logits is None:
        raise ValueError("no rows to predict")
    return logits
