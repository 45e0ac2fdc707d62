"""Measuring: latency, memory, size and accuracy of every variant, and the report."""
