"""What a server tells Prometheus of itself."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from compress.serving.format import Description

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Monitoring:
    """Counters and times of one server; `page` is what Prometheus reads, ``statuses`` how often each was sent."""

    def __init__(self, described: Description):
        disable_created_metrics()  # a line more for each, of which no page tells
        self.statuses: Counts[int] = Counts()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        labels = {"model": described.name, "task": described.task, "runtime": described.runtime}
        Gauge("compress_model", "The model that is served.", list(labels), registry=self._registry).labels(
            **labels
        ).set(1)
        self._requests = Counter(
            "compress_requests", "Requests, by route and HTTP status.", ["route", "status"], registry=self._registry
        )
        self._latency = self._histogram(
            "compress_request_seconds", "From a request's arrival to its answer.", ["route"]
        )
        self._queued = self._histogram("compress_text_waiting_seconds", "From a text's arrival to its run.")
        self._runs = self._histogram("compress_run_seconds", "Time of a batch in the model.")
        self._batches = Histogram(
            "compress_batch_texts", "Texts that ran side by side.", buckets=_TEXTS, registry=self._registry
        )
        self._tokens = Counter("compress_tokens", "Tokens that the model has read.", registry=self._registry)
        self.waiting = Gauge("compress_waiting_texts", "Texts that wait for the model.", registry=self._registry)

    def _histogram(self, name: str, told: str, labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, told, labels, buckets=_SECONDS, registry=self._registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.statuses[status] += 1
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def ran(self, waited: Sequence[float], tokens: int, seconds: float) -> None:
        """Count a batch.

        :param waited: Seconds from each text's arrival on.
        """
        for each in waited:
            self._queued.observe(each)
        self._batches.observe(len(waited))
        self._tokens.inc(tokens)
        self._runs.observe(seconds)

    def page(self) -> bytes:
        """All of it, in Prometheus' text format."""
        page: bytes = generate_latest(self._registry)
        return page
