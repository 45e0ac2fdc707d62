"""A folder asked in headless Chromium: served on the loopback, its own modules tell what the model says."""

from __future__ import annotations

import functools
import http.server
import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any

_LOOPBACK = "127.0.0.1"
_ASK = """<!doctype html><meta charset="utf-8"><script type="module">
const told = (content) => fetch("told", { method: "POST", body: JSON.stringify(content) });
try {
  const { openModel } = await import("./page/model.js");
  const pack = await (await fetch("page/pack.json")).json();
  const { variant, questions } = await (await fetch("question.json")).json();
  const started = performance.now();
  const ask = await openModel(pack, pack.variants.find(({ name }) => name === variant));
  const load = performance.now() - started;
  const answers = [];
  for (const question of questions) answers.push(await ask(question));
  await told({ load, answers });
} catch (error) {
  await told({ error: String(error.message ?? error) });
}
</script>"""
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


class _Folder(http.server.SimpleHTTPRequestHandler):
    """A folder's files, a page that asks, and what it tells."""

    question: dict[str, Any]
    told: queue.Queue[dict[str, Any]]

    def do_GET(self) -> None:
        pages = {"/ask.html": (_ASK, "text/html"), "/question.json": (json.dumps(self.question), "application/json")}
        if self.path not in pages:
            super().do_GET()
            return
        content, kind = pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content.encode())

    def do_POST(self) -> None:
        self.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def ask_in_chromium(folder: Path, question: dict[str, Any], profile: Path, seconds: float = 180) -> dict[str, Any]:
    """What a model of the folder says in the browser.

    :param question: Name of the ``variant``, and ``questions`` as `page/model.js` takes them.
    :param profile: An empty folder for the browser's own files.
    :return: ``load``, milliseconds, and ``answers``; or ``error``.
    """
    handler = type("Handler", (_Folder,), {"question": question, "told": queue.Queue()})
    with http.server.ThreadingHTTPServer((_LOOPBACK, 0), functools.partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{_LOOPBACK}:{server.server_port}/ask.html"
        command = ["chromium", *_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", address]
        with (profile / "log").open("w") as log:
            browser = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            return handler.told.get(timeout=seconds)
        finally:
            browser.terminate()
            browser.wait(20)
            server.shutdown()
