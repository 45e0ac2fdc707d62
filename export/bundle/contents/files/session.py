"""How clients open a graph with ONNX Runtime alone: all from its import on stands in each client that is written."""

import os
from pathlib import Path

import onnxruntime


def opened(graph: Path) -> onnxruntime.InferenceSession:
    """Open a graph for COMPRESS_THREADS threads, or as many as the affinity and a container's quota leave."""
    options, cores, quota = onnxruntime.SessionOptions(), os.cpu_count() or 1, Path("/sys/fs/cgroup/cpu.max")
    options.enable_mem_pattern = False  # its plans for each shape that was seen would fill the memory
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    limit, period = quota.read_text("ascii").split() if quota.exists() else ("max", "1")
    if limit != "max":
        threads = min(threads, -(-int(limit) // int(period)))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would use the quota up
    asked = os.environ.get("COMPRESS_THREADS") or str(threads if threads < cores else 0)
    if not asked.isdecimal():
        raise SystemExit(f"COMPRESS_THREADS: a number of threads, not {asked[:20]!r}")
    options.intra_op_num_threads = int(asked)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
