"""How much memory is said to be free, and what is refused for the lack of it."""

from pathlib import Path

import pytest

from compress import memory
from compress.errors import CompressError
from compress.memory import check_memory, free_memory


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 400\ninactive_file 200\n"}, 500),
        ({"memory.max": "1000", "memory.current": "1100", "memory.stat": "anon 400\n"}, 0),
        ({"memory.max": "max\n"}, None),
        (
            {
                "memory/memory.limit_in_bytes": "1000\n",
                "memory/memory.usage_in_bytes": "700\n",
                "memory/memory.stat": "cache 1\ntotal_inactive_file 200\n",
            },
            500,
        ),
        ({}, None),
    ],
)
def test_what_a_containers_limit_leaves_is_read_in_both_versions(
    files: dict[str, str], left: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path)
    if left is None:
        assert free_memory() > 100_000_000
    else:
        assert free_memory() == left


def test_what_memory_cannot_hold_is_refused_with_what_helps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2_000_000_000)
    check_memory("student: a step takes", 1.9e9, "lower data.max_length")
    with pytest.raises(CompressError) as refused:
        check_memory("student: a step takes", 3e9, "lower data.max_length")
    assert str(refused.value) == (
        "student: a step takes at least 3.0 GB of memory, 2.0 GB are free; lower data.max_length"
    )
