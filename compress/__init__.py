"""Distil, export, quantise and verify multilingual transformers for serving."""

__version__ = "0.1.0"
