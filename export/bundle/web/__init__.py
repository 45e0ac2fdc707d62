"""A folder that a browser runs: a model in transformers.js's layout, and one page."""
