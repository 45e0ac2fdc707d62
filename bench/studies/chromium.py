"""A folder for browsers in headless Chromium, served on the loopback: asked by its modules, or used as people use it.

Chromium resolves no other host than the loopback: what works here works offline.
"""

from __future__ import annotations

import functools
import http.server
import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LOOPBACK = "127.0.0.1"
_TELL = 'const told = (content) => fetch("told", { method: "POST", body: JSON.stringify(content) });'
NO_WEBGPU = "this browser has no WebGPU"
_ASK = f"""<!doctype html><meta charset="utf-8"><script type="module">
{_TELL}
try {{
  const {{ openModel }} = await import("./page/model.js");
  const pack = await (await fetch("page/pack.json")).json();
  const {{ variant, questions, device }} = await (await fetch("question.json")).json();
  if (device === "webgpu" && !(await navigator.gpu?.requestAdapter())) throw new Error({NO_WEBGPU!r});
  const started = performance.now();
  const ask = await openModel(pack, pack.variants.find(({{ name }}) => name === variant), device);
  const load = performance.now() - started;
  const answers = [];
  for (const question of questions) answers.push(await ask(question));
  await told({{ load, answers }});
}} catch (error) {{
  await told({{ error: String(error.message ?? error) }});
}}
</script>"""
_USE = f"""<!doctype html><meta charset="utf-8">
<style>body {{ margin: 0; }} iframe {{ border: 0; width: 100vw; height: 100vh; }}</style>
<img src="held.png" alt="" hidden><iframe src="index.html"></iframe><script type="module">
{_TELL}
const frame = document.querySelector("iframe");
const element = (id) => frame.contentDocument.getElementById(id);
const until = async (holds) => {{
  while (!holds()) {{
    const state = element("state")?.textContent ?? "";
    if (state.startsWith("This did not work")) throw new Error(state);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }}
}};
const cells = (id) => [...element(id).rows].map((row) => [...row.cells].map((cell) => cell.textContent));
try {{
  const {{ variant, text, pair }} = await (await fetch("question.json")).json();
  await until(() => element("ask") && !element("ask").disabled);
  element("variant").selectedIndex = variant;
  element("variant").dispatchEvent(new Event("change"));
  await until(() => !element("ask").disabled);
  const state = element("state").textContent;
  if (text !== null) element("text").value = text;
  if (pair !== null) element("pair").value = pair;
  element("form").requestSubmit();
  await until(() => element("latency").textContent);
  element("examples-button").click();
  const pack = await (await fetch("page/pack.json")).json();
  await until(() => element("examples").rows.length === pack.examples.length);
  const fetched = frame.contentWindow.performance.getEntriesByType("resource");
  const hosts = [...new Set(fetched.map(({{ name }}) => new URL(name).hostname))];
  const latency = element("latency").textContent;
  await told({{ state, latency, answer: cells("answer"), examples: cells("examples"), hosts }});
}} catch (error) {{
  await told({{ error: String(error.message ?? error) }});
}}
</script>"""
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    f"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE {_LOOPBACK}",
)


class _Folder(http.server.SimpleHTTPRequestHandler):
    """A folder's files, pages that ask, and what they tell; a picture that comes once something has been told."""

    question: Mapping[str, Any]
    told: queue.Queue[dict[str, Any]]
    released: threading.Event

    def do_GET(self) -> None:
        pages = {
            "/ask.html": (_ASK, "text/html"),
            "/use.html": (_USE, "text/html"),
            "/question.json": (json.dumps(self.question), "application/json"),
        }
        if self.path == "/held.png":
            self.released.wait()
            self.send_error(404)
        elif self.path not in pages:
            super().do_GET()
        else:
            content, kind = pages[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content.encode())

    def do_POST(self) -> None:
        self.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.released.set()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def ask_in_chromium(
    folder: Path, question: Mapping[str, Any], profile: Path, seconds: float = 180, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """What a model of the folder says in the browser.

    :param question: Name of the ``variant``, ``questions`` as `page/model.js` takes them, and perhaps the ``device``.
    :param profile: An empty folder for the browser's own files.
    :param flags: More of Chromium's.
    :return: ``load``, milliseconds, and ``answers``; or ``error``.
    """
    with _browser(folder, "ask.html", question, profile, flags) as (_, told):
        return told.get(timeout=seconds)


def use_page(
    folder: Path,
    profile: Path,
    *,
    variant: int = 0,
    text: str | None = None,
    pair: str | None = None,
    picture: Path | None = None,
    size: tuple[int, int] = (900, 760),
    seconds: float = 240,
) -> dict[str, Any]:
    """What the page shows after somebody has chosen a variant, typed, asked, and asked for the examples.

    :param variant: Its number.
    :param text: What is typed, and ``pair`` in the second field; none: what stands there.
    :param picture: Where a picture of the page is written (PNG).
    :param size: Of the window, in points.
    :return: ``state``, ``latency``, the cells of ``answer`` and of ``examples``, and the ``hosts`` that something was
        fetched from; or ``error``.
    """
    question = {"variant": variant, "text": text, "pair": pair}
    flags = [f"--window-size={size[0]},{size[1]}", *([f"--screenshot={picture.absolute()}"] if picture else [])]
    with _browser(folder, "use.html", question, profile, flags) as (browser, told):
        found = told.get(timeout=seconds)
        if picture:
            browser.wait(seconds)
    return found


@contextmanager
def _browser(
    folder: Path, page: str, question: Mapping[str, Any], profile: Path, flags: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], queue.Queue[dict[str, Any]]]]:
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    released = threading.Event()
    handler = type("Handler", (_Folder,), {"question": question, "told": told, "released": released})
    with http.server.ThreadingHTTPServer((_LOOPBACK, 0), functools.partial(handler, directory=folder)) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{_LOOPBACK}:{server.server_port}/{page}"
        port = [] if any(flag.startswith("--screenshot") for flag in flags) else ["--remote-debugging-port=0"]
        command = ["chromium", *_FLAGS, *flags, *port, f"--user-data-dir={profile}", address]
        with (profile / "log").open("w") as log:
            browser = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        try:
            yield browser, told
        finally:
            released.set()
            browser.terminate()
            browser.wait(20)
            server.shutdown()
