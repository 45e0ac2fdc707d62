"""Malformed input of every kind, judged: `python tests/fuzz`; exit code 1 where the product does what it must not do.

Attempts are drawn from a seed: the same seed, the same attempts. What ends in a fault is kept in `artifacts/fuzz`.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import time
from collections import Counter
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from compress.console import quiet_libraries, quiet_transformers

quiet_libraries()  # before they are imported: their progress bars are not what is judged

import forked  # noqa: E402
from attempts import Outcome, attempts_at, run_attempts  # noqa: E402
from material import Material, make_material  # noqa: E402

_LOADED = (
    "transformers.models.auto.modeling_auto",
    "transformers.models.modernbert.modeling_modernbert",
    "tokenizers",
    "safetensors.torch",
    "onnx",
    "sentence_transformers",
)
"""What most attempts need beside; once, for all of them."""
_ENDS = ("refused", "accepted", "faults")
SURFACES = (
    *("rows", "recipes", "models", "graphs", "runs", "bundles", "archives", "signatures", "requests"),
    *("reports", "variants", "trims", "taken", "vectors", "scores"),
)


def main(
    seed: Annotated[int, typer.Option(help="Fixes what is drawn.")] = 0,
    part: Annotated[int, typer.Option(help="One in so many of the drawn attempts; the named cases are all tried.")] = 1,
    surface: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SURFACES)}; can be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="After which an attempt hangs.")] = 120,
    processes: Annotated[int, typer.Option(help="Attempts at once.")] = os.cpu_count() or 1,
    keep: Annotated[Path, typer.Option(help="Folder for inputs that end in a fault.")] = Path("artifacts/fuzz"),
) -> None:
    """Try malformed inputs and tell what became of them."""
    quiet_transformers()
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    faults: list[Outcome] = []
    table = Table(title=f"seed {seed}, one in {part} drawn")
    for heading in ("surface", "attempts", "refused", "accepted", "faults", "largest memory", "seconds"):
        table.add_column(heading, justify="left" if heading == "surface" else "right")
    with TemporaryDirectory(prefix="fuzz-material-") as root:
        _make(Path(root))
        forkserver.ensure_running()
        for module in (*forked.LOADED, *_LOADED):
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # no attempt looks at all of this again, which would copy it
        for name in surface or SURFACES:
            found = importlib.import_module(f"surfaces.{name}").surface(Material(Path(root)))
            ended: Counter[str] = Counter()
            started, memory = time.monotonic(), 0
            for outcome in run_attempts(attempts_at(found, seed, part), seconds, processes, keep / name):
                ended["faults" if outcome.is_fault else outcome.ended] += 1
                memory = max(memory, outcome.memory)
                if outcome.is_fault:
                    faults.append(outcome)
                    console.print(f"{name}: {outcome.attempt.name}: {outcome.ended}\n{outcome.told}", markup=False)
            counts = [str(number) for number in (ended.total(), *(ended[end] for end in _ENDS))]
            table.add_row(name, *counts, f"{memory / 2**30:.1f} GiB", f"{time.monotonic() - started:.0f}")
    console.print(table)
    if faults:
        print(f"{len(faults)} faults; their inputs are in {keep}")
        raise typer.Exit(1)


def _make(root: Path) -> None:
    """In a process of its own: libraries that have computed do not survive that processes are forked from theirs."""
    process = multiprocessing.get_context("fork").Process(target=make_material, args=(root,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the run that is to be altered could not be made")


if __name__ == "__main__":
    typer.run(main)
