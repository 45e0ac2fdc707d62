"""How often the gate's judgement is wrong, simulated: `python -m bench.studies.gate_rates`.

Rows are drawn from populations whose true loss is known, times from batches whose true ratio is: what is counted is how
often a loss at its limit passes or fails, one of three times the limit passes, and no loss fails.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.console import Console

from bench.gate.findings import LOOKS
from bench.gate.judgement import ALPHA, Chances, Judged, drop, slowdown
from bench.measure.statistics import log_ratios
from bench.report.tables import ReportTable
from bench.report.text import terminal_table
from compress.contract import Contract
from compress.metrics.comparison import Pair
from compress.metrics.figures import WORST_FIRST, Verdict
from compress.metrics.metric import Metric, f1_of_counts, mean
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

_POINTS = (0.0, 1.0, 3.0)
"""Points that are truly lost; the limit is one."""
_ROWS = (30, 100, 300, 1000)
_FIGURES, _BATCHES, _BATCH_NOISE = 15, 25, 0.03
Generator = np.random.Generator


class Rates(Contract):
    """How often a judgement came to which verdict."""

    what: str
    rows: int
    checks: int
    verdicts: dict[Verdict, int]


def accuracy_population(lost: float, generator: Generator, size: int = 200_000) -> tuple[Metric, Metric]:
    """Rows of which nine in ten are right; beside what is lost, a hundredth changes either way."""
    old = generator.random(size) < 0.9
    draws = generator.random(size)
    new = np.where(old, draws >= (lost + 0.01) / 0.9, draws < 0.1)
    return mean(old), mean(new)


def f1_population(lost: float, generator: Generator, size: int = 200_000) -> tuple[Metric, Metric]:
    """Rows with a few spans each; those that change lose two thirds of theirs at once."""
    wanted = generator.geometric(0.45, size) - 1
    right, more = generator.binomial(wanted, 0.85), generator.poisson(0.15, size)
    changed = generator.random(size) < 2 * lost
    left = np.where(changed, generator.binomial(right, 0.33), right)
    one, other = (np.stack([found, found + more, wanted], axis=1) for found in (right, left))
    return f1_of_counts(one.tolist()), f1_of_counts(other.tolist())


def bleu_population(lost: float, generator: Generator, size: int = 4000) -> tuple[Metric, Metric]:
    """Sentences of which the one model has a word in eight wrong, and the other more in some of them."""
    words = [f"w{number}" for number in range(2000)]

    def spoiled(sentence: Sequence[str], share: float) -> list[str]:
        return [word if generator.random() > share else words[int(generator.integers(2000))] for word in sentence]

    lengths = generator.integers(4, 25, size)
    wanted = [[words[number] for number in generator.integers(2000, size=length)] for length in lengths]
    old = [spoiled(sentence, 0.125) for sentence in wanted]
    new = [spoiled(sentence, 0.3) if generator.random() < 2.4 * lost else sentence for sentence in old]
    rows = [Row(text="", label=" ".join(sentence), lang="de-en") for sentence in wanted]
    metrics = task_named("translation").metrics
    one, other = (metrics([" ".join(words) for words in said], rows, [])["BLEU"] for said in (old, new))
    return one, other


POPULATIONS: dict[str, Callable[[float, Generator], tuple[Metric, Metric]]] = {
    "accuracy": accuracy_population,
    "F1 of spans": f1_population,
    "BLEU": bleu_population,
}


def drop_rates(name: str, checks: int, rows: Sequence[int] = _ROWS) -> Iterator[Rates]:
    """Verdicts on what is lost of a population's figure; the limit follows its true loss, which is near the points that
    are named."""
    chances = Chances(below=ALPHA / _FIGURES, above=ALPHA)
    for points in _POINTS:
        generator = np.random.default_rng(0)
        one, other = POPULATIONS[name](points / 100, generator)
        size = len(one.statistics)
        true = 100 * float(one.value(one.statistics.sum(axis=0)) - other.value(other.statistics.sum(axis=0)))
        judged = Judged("", name, None, true / points if points else 1.0)
        for count in rows:
            pairs = (Pair(one, other, generator.integers(size, size=count)) for _ in range(checks))
            found = Counter(drop(judged, pair, chances).verdict for pair in pairs)
            told = "no loss" if not points else "a loss at its limit" if points == 1 else "three times its limit"
            yield Rates(what=f"{name}, {told}", rows=count, checks=checks, verdicts=dict(found))


def looks_at_times(ratio: float, generator: Generator) -> Verdict:
    """The verdict on times after as many looks as it takes, where each batch has a ratio of its own."""
    own = np.log(ratio) + _BATCH_NOISE * generator.standard_normal(_BATCHES)
    logs: NDArray[np.float64] = own + 0.02 * generator.standard_t(2, (LOOKS[-1], _BATCHES))
    chances, judged = Chances(below=ALPHA / len(LOOKS), above=ALPHA / len(LOOKS)), Judged("", "latency", None, 1.1)
    found: Verdict = "inconclusive"
    for look in LOOKS:
        batches = log_ratios(np.exp(logs[:look]), np.ones((look, _BATCHES)))
        if (found := slowdown(judged, batches, chances).verdict) != "inconclusive":
            break
    return found


def time_rates(checks: int) -> Iterator[Rates]:
    """Verdicts on times of 25 batches."""
    for ratio in (1.0, 1.1, 1.15):
        generator = np.random.default_rng(0)
        found = Counter(looks_at_times(ratio, generator) for _ in range(checks))
        told = f"{ratio:g} times the baseline's, limit 1.1"
        yield Rates(what=f"times, {told}", rows=_BATCHES, checks=checks, verdicts=dict(found))


def rates_table(rates: Sequence[Rates]) -> ReportTable:
    """Shares of the verdicts in percent."""
    rows = []
    for found in rates:
        shares = (f"{100 * found.verdicts.get(verdict, 0) / found.checks:.1f}" for verdict in WORST_FIRST)
        rows.append([found.what, f"{found.rows:,}", f"{found.checks:,}", *shares])
    return ReportTable(
        "Verdicts in % of the simulated checks", ["what is judged", "rows", "checks", *WORST_FIRST], rows
    )


def main(
    checks: Annotated[int, typer.Option(help="Simulated checks of each kind; of BLEU, 100 take minutes.")] = 400,
) -> None:
    """Count verdicts; JSON on standard output, a table on standard error."""
    found = [*(rates for name in POPULATIONS for rates in drop_rates(name, checks)), *time_rates(checks)]
    sys.stdout.write(TypeAdapter(list[Rates]).dump_json(found).decode() + "\n")
    Console(stderr=True, width=140).print(terminal_table(rates_table(found)))


if __name__ == "__main__":
    typer.run(main)
