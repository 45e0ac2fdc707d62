"""What a measuring process is told and asked, and what it answers; see `bench.measure.messages`.

Numbers of examples are those in the file of the setup: what the model's tokenizer made of the test rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.measure.messages import Request, kinds_of
from compress.runtimes.generation import Search
from compress.tasks.registry import TaskName


@dataclass(frozen=True)
class SizeBatch:
    """A batch of so many rows, all of which have this number of tokens."""

    batch: int
    length: int


@dataclass(frozen=True)
class RowsBatch:
    """Some examples, side by side."""

    examples: Sequence[int]


@dataclass(frozen=True)
class TextSetup:
    """How a model reads text: the folder of its tokenizer, its labels, and a file with the test rows.

    The rest is what `compress.tasks.contract.TextSettings` asks for.
    """

    tokenizer: str
    labels: Sequence[str]
    rows: str
    max_length: int
    language_codes: Mapping[str, str]
    prefix: str | None
    prompts: Mapping[str, str] | None = None
    default_prompt: str | None = None


@dataclass(frozen=True)
class WorkerStart:
    """What was seen of a start: seconds of loading and the first run, memory in bytes, and how many classes it had.

    Memory is what the process needed ``before`` loading, what is ``needed`` for a run of the largest batch, and the
    resident ``peak`` after it; ``gpu`` is held on GPUs, none where nobody tells.
    """

    seconds: float
    before: int
    needed: int
    peak: int
    gpu: int | None
    classes: int


@dataclass(frozen=True)
class WorkerSetup(Request[WorkerStart]):
    """What a measuring process loads and on which processors it is kept.

    ``model`` is a folder or a file, none for the reference workload, which reads no ``text`` either; ``examples`` names
    a file. ``largest`` is the batch that the peak of memory is measured with. Code that lies beside the model runs if
    the setup ``trusts_code``.
    """

    task: TaskName
    model: str | None
    examples: str
    pad_id: int
    text: TextSetup | None
    search: Search
    threads: int
    cpus: Sequence[int]
    largest: SizeBatch
    trusts_code: bool = False


@dataclass(frozen=True)
class TimingWarmUpAnswer:
    """How many runs a model needed, and whether its times were stable at the end."""

    runs: int
    stable: bool


@dataclass(frozen=True)
class TimingWarmUpRequest(Request[TimingWarmUpAnswer]):
    """Run a batch until its times are stable."""

    batch: RowsBatch | SizeBatch


@dataclass(frozen=True)
class RunAnswer:
    """Milliseconds of one run, and those of them in which it waited for a processor; where text is written also those
    up to the first token, and the tokens written."""

    ms: float
    waited_ms: float
    first_token_ms: float | None = None
    tokens: int = 0


@dataclass(frozen=True)
class RunRequest(Request[RunAnswer]):
    """Time one run of a batch."""

    batch: RowsBatch | SizeBatch


@dataclass(frozen=True)
class TextAnswer:
    """Milliseconds of the tokenizer, of tokenizer and model together, and of both runs those in which they waited for a
    processor."""

    tokenise_ms: float
    together_ms: float
    waited_ms: float


@dataclass(frozen=True)
class TextRequest(Request[TextAnswer]):
    """Time one test row from its text to the model's outputs."""

    row: int


@dataclass(frozen=True)
class ServeAnswer:
    """Milliseconds from arrival to answer of the requests that were answered, and the sizes of the batches; the
    milliseconds in which batches were worked on, and those in which they waited for a processor."""

    latencies_ms: Sequence[float]
    batches: Sequence[int]
    worked_ms: float
    waited_ms: float


@dataclass(frozen=True)
class ServeRequest(Request[ServeAnswer]):
    """Serve requests as they arrive.

    ``arrivals`` are seconds from the start on, rising; ``examples`` are those of each request. At most
    ``largest_batch`` waiting requests are joined: in their order, or those of like length where their ``lengths`` in
    tokens are given. It ends early when more than ``allowed`` answers came after ``bound_ms``.
    """

    arrivals: Sequence[float]
    examples: Sequence[Sequence[int]]
    largest_batch: int
    bound_ms: float
    allowed: int
    lengths: Sequence[int] | None = None


@dataclass(frozen=True)
class PredictAnswer:
    """The file is written."""


@dataclass(frozen=True)
class PredictRequest(Request[PredictAnswer]):
    """Write the outputs of all examples to a file (``.npz``, one array an example, in their order)."""

    file: str


KINDS = kinds_of(
    Search, SizeBatch, RowsBatch, TextSetup, WorkerSetup, WorkerStart, TimingWarmUpRequest, TimingWarmUpAnswer,
    RunRequest, RunAnswer, TextRequest, TextAnswer, ServeRequest, ServeAnswer, PredictRequest, PredictAnswer,
)  # fmt: skip
"""All kinds of these messages."""
