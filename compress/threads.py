"""How the threads of native libraries share the machine; told before those libraries load."""

from __future__ import annotations

import os

from compress.control_groups import processor_quota, usable_processors


def bound_threads() -> None:
    """Keep OpenMP's threads from spinning without end, and from being more than a container may run.

    A thread that waits for the next piece of work spins; beside another process with threads of its own that takes the
    processors from those who work: a training that makes 150 steps a second alone makes 3. Under a quota it also uses
    up the time of those who work, so there it does not spin at all. What the user has set stays.
    """
    quota = processor_quota()
    if "OMP_WAIT_POLICY" not in os.environ:
        # GNU's OpenMP, whose default is about 300,000 turns, and LLVM's and Intel's, whose default is 200 ms.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000" if quota is None else "0")
        os.environ.setdefault("KMP_BLOCKTIME", "1" if quota is None else "0")
    if quota is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_processors()))


def pool_size(threads: int | None) -> int:
    """Threads that a runtime's pool is to have; 0 for the runtime's own choice, which it makes for the whole machine.

    ONNX Runtime and OpenVINO count the cores of the host: in a container, or where the processors are given (taskset,
    cpusets), they would start threads that stop one another.

    :param threads: How many are wanted; none: as many as may run at once.
    """
    if threads:
        return threads
    usable = usable_processors()
    return usable if usable < (os.cpu_count() or 1) else 0


def may_spin() -> bool:
    """Whether threads that wait may spin: not where a quota counts that as work."""
    return processor_quota() is None
