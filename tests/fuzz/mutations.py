"""What is done to valid input: to bytes, to JSON, to files of a folder. Everything is drawn from a seeded generator."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HOLE = 4 * 2**30
"""Bytes of a file that takes no room on the disk, and more memory than an attempt may have."""
DEEP = "[" * 100_000 + "]" * 100_000

STRANGE: Mapping[str, str] = {
    "null": "null",
    "true": "true",
    "false": "false",
    "minus one": "-1",
    "zero": "0",
    "a fraction": "1.5",
    "NaN": "NaN",
    "infinity": "1e999",
    "a huge number": "1" + "0" * 30,
    "5,000 digits": "9" * 5000,
    "an empty text": '""',
    "blanks": '" \\t "',
    "a lone surrogate": '"\\ud800"',
    "a null character": '"a\\u0000b"',
    "markup": '"[/]"',
    "hidden markup": '"[conceal]a[/conceal]"',
    "a terminal's escape": '"\\u001b[31mred"',
    "line breaks": '"a\\nb\\r\\nc"',
    "text right to left": '"\\u202eabc"',
    "a date": '"2020-01-01"',
    "a path outside": '"../../../etc/passwd"',
    "a format": '"{0.__class__} %s %n"',
    "10,000 characters": json.dumps("x" * 10_000),
    "an empty list": "[]",
    "an empty object": "{}",
    "a list": '["a", 1]',
    "an object": '{"a": 1}',
    "deep nesting": DEEP,
    "twice the same key": '{"a": 1, "a": 2}',
}
"""JSON texts that a place may hold in place of what belongs there."""

_MARK = "\ue123 the place \ue123"


def altered_bytes(draw: random.Random, raw: bytes) -> tuple[str, bytes]:
    """What was done to the bytes, and the bytes."""
    at = draw.randrange(len(raw) + 1)
    length = draw.choice((1, 4, 100, 10_000))
    noise = draw.randbytes(length)
    flipped = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 5, 50))):
        if flipped:
            flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    done = {
        "bits flipped": bytes(flipped),
        f"cut off at {at}": raw[:at],
        f"without its first {at} bytes": raw[at:],
        f"{length} bytes of noise at {at}": raw[:at] + noise + raw[at:],
        f"{length} bytes of noise over {at}": raw[:at] + noise + raw[at + length :],
        f"{length} bytes left out at {at}": raw[:at] + raw[at + length :],
        f"{length} bytes repeated at {at}": raw[:at] + raw[at : at + length] + raw[at:],
        f"{length} zeros over {at}": raw[:at] + bytes(length) + raw[at + length :],
        "noise": draw.randbytes(len(raw)),
        "nothing": b"",
        "in UTF-16": raw.decode("utf-8", "replace").encode("utf-16"),
    }
    words = draw.choice([*["bits flipped"] * 4, *done])
    return words, done[words]


def altered_json(draw: random.Random, content: Any, strange: Mapping[str, str] = STRANGE) -> tuple[str, str]:
    """What was done at one place of a JSON value, and its text."""
    places = list(_places(content))
    place = draw.choice(places)
    words, text = draw.choice(list(strange.items()))
    inside = place and isinstance(_at(content, place[:-1]), dict)
    manner = draw.choice(("replaced", "replaced", "replaced", "twice", "missing", "renamed")) if inside else "replaced"
    name = ".".join(map(str, place)) or "the whole"
    if manner in ("missing", "renamed"):
        parent = _at(content, place[:-1])
        kept = {key: value for key, value in parent.items() if key != place[-1] or manner == "renamed"}
        renamed = {(f"{key}_" if key == place[-1] else key): value for key, value in kept.items()}
        return f"{name} {manner}", json.dumps(_with(content, place[:-1], renamed))
    if manner == "twice":
        text = f"{json.dumps(_at(content, place))}, {json.dumps(place[-1])}: {text}"
        words = f"there twice, then {words}"
    marked = json.dumps(_with(content, place, _MARK), ensure_ascii=False)
    return f"{name} is {words}", marked.replace(json.dumps(_MARK, ensure_ascii=False), text)


def _places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from _places(value, (*above, key))


def _at(content: Any, place: Sequence[Any]) -> Any:
    for key in place:
        content = content[key]
    return content


def _with(content: Any, place: Sequence[Any], value: Any) -> Any:
    """A copy with another value at a place."""
    if not place:
        return value
    key, *rest = place
    changed = _with(content[key], rest, value)
    if isinstance(content, dict):
        return {**content, key: changed}
    return [*content[:key], changed, *content[key + 1 :]]


def altered_file(draw: random.Random, path: Path) -> str:
    """Alter one file in its place, or put something else there; what was done, in words."""
    raw = path.read_bytes()
    if path.suffix == ".json" and draw.random() < 0.6:
        words, text = altered_json(draw, json.loads(raw))
        path.write_text(text, "utf-8", "surrogatepass")
        return f"{path.name}: {words}"
    if draw.random() < 0.6:
        words, altered = altered_bytes(draw, raw)
        path.write_bytes(altered)
        return f"{path.name}: {words}"
    words, replace = draw.choice(list(REPLACEMENTS.items()))
    replace(path)
    return f"{path.name}: {words}"


def _removed(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _linked_to(target: str) -> Callable[[Path], None]:
    def linked(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return linked


def _linked_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _renamed(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}.old"))


def _hole(path: Path) -> None:
    path.write_bytes(b"")
    os.truncate(path, HOLE)


def _long(path: Path) -> None:
    """Whole, with a hole at its end."""
    os.truncate(path, HOLE)


REPLACEMENTS: Mapping[str, Callable[[Path], None]] = {
    "removed": _removed,
    "renamed": _renamed,
    "a folder": _folder,
    "a pipe": _pipe,
    "a hole": _hole,
    "a hole at its end": _long,
    "a link to itself": _linked_to_itself,
    "a link into nothing": _linked_to("nowhere"),
    "a link to a device without end": _linked_to("/dev/zero"),
}
"""What may stand where a file belongs."""


def altered_folder(draw: random.Random, folder: Path, source: Path, times: int = 1) -> str:
    """Copy a folder and alter some of its files; what was done, in words."""
    shutil.copytree(source, folder, symlinks=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return "; ".join(altered_file(draw, path) for path in draw.sample(files, min(times, len(files))))
