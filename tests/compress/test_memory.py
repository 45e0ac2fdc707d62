"""How much memory is said to be free, and what is refused for the lack of it."""

import ctypes
from pathlib import Path

import psutil
import pytest

from compress import control_groups, memory
from compress.errors import CompressError
from compress.memory import check_memory, free_memory, give_back_memory


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
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_was_freed_is_given_back_to_the_system():
    library, process = ctypes.CDLL(None), psutil.Process()
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [library.malloc(100_000) for _ in range(2000)]
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
        library.free(block)
    kept = process.memory_info().rss
    give_back_memory()
    assert process.memory_info().rss < kept - 150_000_000
    library.free(blocks[-1])
