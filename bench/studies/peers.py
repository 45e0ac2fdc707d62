"""Our variants beside other ways to run the same model on this processor: `python -m bench.studies.peers`.

Every contender lives in a process of its own, which is stopped while another one is measured, so that no thread pool
disturbs another. They take turns in rounds. All get the same random weights and tokens; accuracy is how far logits are
from those of PyTorch in 32 bits, as a share of their spread. OpenVINO runs as it comes, where it takes bf16 if the
processor has it, and in 32 bits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.measure.process import AskedProcess
from bench.studies.peer_models import EXACT, EncoderShape, contenders_here, ours_like, write_models
from bench.studies.peer_process import KINDS, LogitsRequest, PeakRequest, PeerSetup, TimeRequest
from compress.console import progress, quiet_libraries
from compress.contract import Contract
from compress.machine import cpu_features
from compress.subprocesses import module_command
from compress.targets import resolve_target

_ROUNDS = 5
_RESAMPLES = 2000
_AS_ACCURATE, _ROUNDING = 1.1, 1e-5
"""An error is no larger than another up to this factor, and up to rounding in 32 bits."""
_COMMAND = module_command("bench.studies.peer_process")


class PeerCell(Contract):
    """One setting that all contenders are measured in."""

    shape: EncoderShape
    threads: int
    batch: int
    length: int


class PeerFigures(Contract):
    """What a contender took in a cell, and how that compares with the fastest of ours in its precision.

    ``interval_ms`` and ``ours_takes_interval`` are 95 % intervals of ``p50_ms`` and of ``ours_takes``, the ratio of our
    time to this one; ``share_of_peak`` is of the fastest product of matrices in 32 bits. ``error`` is the root mean
    square of that of the logits, as a share of their spread; ``unbeaten``: nobody as accurate takes less time.
    """

    p50_ms: float
    interval_ms: tuple[float, float]
    runs: int
    ours_takes: float
    ours_takes_interval: tuple[float, float]
    share_of_peak: float
    error: float
    unbeaten: bool


class JudgedCell(PeerCell):
    """A cell with the figures of all contenders."""

    contenders: dict[str, PeerFigures]


class PeerReport(Contract):
    """What was measured of all contenders."""

    processor: str
    target: str
    cells: list[JudgedCell]
    peak_gflops: dict[int, float]
    """By threads."""


def compare_peers(
    shapes: Sequence[EncoderShape], threads: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> PeerReport:
    """Measure all contenders in all cells.

    :param sizes: Pairs of batch and length.
    """
    cells: list[JudgedCell] = []
    names = contenders_here()
    peaks = {count: _peak(count) for count in threads}
    with progress() as bar:
        task = bar.add_task("peers", total=len(shapes) * len(threads) * _ROUNDS)
        for shape in shapes:
            with TemporaryDirectory() as folder:
                write_models(shape, Path(folder))
                for count in threads:
                    with _started(names, folder, count) as contenders:
                        errors = _errors(contenders)
                        samples = _samples(contenders, sizes, lambda: bar.advance(task))
                    for (batch, length), found in samples.items():
                        cell = PeerCell(shape=shape, threads=count, batch=batch, length=length)
                        cells.append(judged_cell(cell, found, errors, peaks[count]))
    processor, target = cpu_features().cpu_name, resolve_target("auto").name
    return PeerReport(processor=processor, target=target, cells=cells, peak_gflops=peaks)


def peer_tables(report: PeerReport) -> list[Table]:
    """For each model one row a contender, with its error, and one column a setting."""
    peaks = ", ".join(f"{value:.0f} with {count}" for count, value in report.peak_gflops.items())
    tables = []
    for shape in dict.fromkeys(cell.shape for cell in report.cells):
        cells = [cell for cell in report.cells if cell.shape == shape]
        table = Table(
            title=f"{shape.name}: p50 ms (share of the fp32 peak; *: nobody as accurate takes less), by threads, batch "
            f"x length\n{report.processor}, {report.target}; peak GFLOP/s by threads: {peaks}"
        )
        table.add_column("contender")
        for heading in ("error", *(f"{cell.threads}, {cell.batch}x{cell.length}" for cell in cells)):
            table.add_column(heading, justify="right")
        for name, first in cells[0].contenders.items():
            table.add_row(name, f"{100 * first.error:.2g} %", *(_shown(cell.contenders[name]) for cell in cells))
        tables.append(table)
    return tables


def _shown(figures: PeerFigures) -> str:
    return f"{figures.p50_ms:.2f} ({100 * figures.share_of_peak:.0f} %){'*' if figures.unbeaten else ' '}"


def is_as_accurate(error: float, other: float) -> bool:
    """Whether an error is no larger than another one."""
    return error <= _AS_ACCURATE * other + _ROUNDING


def judged_cell(
    cell: PeerCell, samples: Mapping[str, Sequence[float]], errors: Mapping[str, float], peak: float
) -> JudgedCell:
    """The figures of a cell.

    :param samples: Milliseconds of each contender.
    :param errors: Of each contender.
    :param peak: GFLOP/s of a product of matrices.
    """
    contenders = {}
    medians = {name: float(np.median(times)) for name, times in samples.items()}
    for name, median in medians.items():
        ours = min(ours_like(name, list(samples)), key=medians.__getitem__)
        rivals = [medians[other] for other in samples if is_as_accurate(errors[other], errors[name])]
        contenders[name] = PeerFigures(
            error=errors[name],
            unbeaten=median <= min(rivals),
            p50_ms=median,
            interval_ms=_interval(_medians(samples[name], 0)),
            runs=len(samples[name]),
            ours_takes=medians[ours] / median,
            ours_takes_interval=_interval(_medians(samples[ours], 1) / _medians(samples[name], 2)),
            share_of_peak=cell.shape.operations(cell.batch, cell.length) / median / 1e6 / peak,
        )
    return JudgedCell(**dict(cell), contenders=contenders)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _medians(samples: Sequence[float], seed: int) -> NDArray[np.float64]:
    """Medians of samples drawn with replacement, float (resamples,)."""
    draws = np.random.default_rng(seed).integers(0, len(samples), (_RESAMPLES, len(samples)))
    medians: NDArray[np.float64] = np.median(np.asarray(samples)[draws], axis=1)
    return medians


def _samples(
    contenders: Mapping[str, AskedProcess], sizes: Sequence[tuple[int, int]], advance: Callable[[], object]
) -> dict[tuple[int, int], dict[str, list[float]]]:
    """Milliseconds by batch and length, and by contender; they take turns in rounds."""
    samples: dict[tuple[int, int], dict[str, list[float]]] = {size: {name: [] for name in contenders} for size in sizes}
    for _ in range(_ROUNDS):
        for name, contender in contenders.items():
            for size, times in zip(sizes, contender.ask(TimeRequest(sizes)).milliseconds, strict=True):
                samples[size][name].extend(times)
        advance()
    return samples


@contextmanager
def _started(names: Sequence[str], folder: str, threads: int) -> Iterator[dict[str, AskedProcess]]:
    found: dict[str, AskedProcess] = {}
    try:
        for name in names:
            found[name] = AskedProcess(name, _COMMAND, KINDS, threads)
            found[name].ask(PeerSetup(name, folder, threads))
        yield found
    finally:
        for contender in found.values():
            contender.end()


def _errors(contenders: Mapping[str, AskedProcess]) -> dict[str, float]:
    """For each contender the root mean square of its error, as a share of the spread of the logits."""
    logits = {name: np.array(contender.ask(LogitsRequest()).logits) for name, contender in contenders.items()}
    exact = logits[EXACT]
    spread = float(exact.std(axis=0).mean())
    return {name: float(np.sqrt(np.mean((found - exact) ** 2))) / spread for name, found in logits.items()}


def _peak(threads: int) -> float:
    """GFLOP/s of a large product of matrices, where the libraries see this number of threads from the start."""
    process = AskedProcess("the peak", _COMMAND, KINDS, threads)
    try:
        process.ask(PeerSetup(None, "", threads))
        return process.ask(PeakRequest()).gflops
    finally:
        process.end()


def main() -> None:
    """Measure student and teacher shapes; JSON on standard output, a table on standard error."""
    quiet_libraries()
    shapes = {shape.name: shape for shape in (EncoderShape(6, 384), EncoderShape(12, 768))}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=shapes, help="this one alone")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="so many alone")
    asked = parser.parse_args()
    sizes = [(batch, length) for batch in (1, 8) for length in (32, 128)]
    wanted = [shapes[asked.shape]] if asked.shape else list(shapes.values())
    report = compare_peers(wanted, [asked.threads] if asked.threads else [1, 2], sizes)
    sys.stdout.write(report.model_dump_json() + "\n")
    Console(width=220, stderr=True).print(*peer_tables(report))


if __name__ == "__main__":
    main()
