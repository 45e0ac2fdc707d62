"""PyTorch: a folder in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.errors import CompressError, first_line
from compress.runtimes.contract import Predict
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_torch(folder: Path, task: Task, threads: int | None = None, *, trust_remote_code: bool = False) -> Predict:
    """Load a model with PyTorch, on the GPU where there is one, in the precision that it is stored in.

    :param trust_remote_code: Run code that lies beside it.
    """
    import torch

    from compress.models.load import model_class

    if threads:
        torch.set_num_threads(threads)
    model = model_class(task).from_pretrained(folder, use_safetensors=True, trust_remote_code=trust_remote_code)
    return predict_with(model, task)


def predict_with(model: PreTrainedModel, task: Task) -> Predict:
    """Wrap a model that is in memory already."""
    import torch

    from compress.models.outputs import outputs_of

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()  # type: ignore[arg-type]

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            try:
                found = model(**tensors)
            except Exception as error:  # whatever a model stops at whose settings are not what they should be
                name = model.config._name_or_path or type(model).__name__
                raise CompressError(f"{name}: PyTorch cannot run it ({first_line(error)})") from error
            return outputs_of(found, task.OUTPUTS).float().cpu().numpy()

    return predict
