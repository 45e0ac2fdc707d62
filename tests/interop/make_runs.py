"""One small run of each task for other people's clients: `python tests/interop/make_runs.py FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
from tiny_runs import TASKS, recipe_for


def main(output: Path) -> None:
    """Distil, export and bundle each task; the runs are named after them."""
    for task in TASKS:
        recipe, fields = recipe_for(task, output / "rows" / task)
        path = output / f"{task}.yaml"
        path.write_text(yaml.safe_dump({**recipe, "name": task}), "utf-8")
        settings = [word for name, value in fields.items() for word in ("--set", f"{name}={json.dumps(value)}")]
        command = [sys.executable, "-m", "compress"]
        subprocess.run([*command, "distill", str(path), *settings, "--output", str(output)], check=True)
        subprocess.run([*command, "export", str(output / task), "--output", str(output)], check=True)
        accepted = ["--accept", "onnx", "--accept", "onnx-int8"]  # measuring them would tell nothing here
        subprocess.run([*command, "bundle", str(output / task), *accepted, "--output", str(output)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
