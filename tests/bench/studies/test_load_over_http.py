"""Clients that send requests as they arrive; measuring itself is for those who have a bundle."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.measure.protocol import ServeRequest
from bench.studies.load_over_http import ServedOverHttp, bodies_of
from compress.serving.format import CanaryRow


class _Two(BaseHTTPRequestHandler):
    """Says that two requests are a batch, and how many it was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(content)["inputs"][0]["data"][0])
        self._say("{}", 400 if self.asked[-1] == "bad" else 200)

    def do_GET(self) -> None:
        self._say(f"compress_run_seconds_count {len(self.asked) // 2}\ncompress_run_seconds_sum 0.5\n", 200)

    def _say(self, text: str, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    _Two.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Two)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def served(port: int, *texts: str) -> ServedOverHttp:
    rows = [CanaryRow(text=text, lang="en") for text in texts]
    return ServedOverHttp(port, "onnx", bodies_of(rows, "text-classification"))


def request(count: int, bound_ms: float) -> ServeRequest:
    arrivals = [number / 1000 for number in range(count)]
    return ServeRequest(arrivals, [[number % 2] for number in range(count)], 1, bound_ms, allowed=3)


def test_every_request_is_sent_and_counts_from_its_arrival(port: int):
    found = served(port, "a", "b").ask(request(21, 60_000))
    assert sorted(_Two.asked) == ["a"] * 11 + ["b"] * 10
    assert len(found.latencies_ms) == 21
    assert min(found.latencies_ms) > 0
    assert (len(found.batches), sum(found.batches)) == (10, 21)


def test_it_ends_early_where_more_are_late_than_may_be(port: int):
    found = served(port, "a", "b").ask(request(2000, 0))
    assert 3 < len(found.latencies_ms) < 2000


def test_a_refusal_is_no_answer(port: int):
    with pytest.raises(ValueError, match="400"):
        served(port, "bad", "b").ask(request(4, 60_000))
