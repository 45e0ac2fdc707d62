"""PyTorch: a folder in, arrays out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.runtimes.contract import Predict
from compress.tasks.contract import Task


def load_torch(folder: Path, task: Task, threads: int | None = None) -> Predict:
    """Load a model with PyTorch, on the GPU where there is one."""
    import torch

    from compress.models.load import model_class
    from compress.models.outputs import outputs_of

    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model_class(task).from_pretrained(folder, use_safetensors=True).to(device).eval()

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return outputs_of(model(**tensors), task.OUTPUTS).float().cpu().numpy()

    return predict
