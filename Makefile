PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .[cpu,trt-rtx,dev]
	touch $@

demo: $(VENV)/installed
	$(BIN)/compress distill
	$(BIN)/compress export --trt
	$(BIN)/compress bench

test: $(VENV)/installed
	$(BIN)/pytest --quiet

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info
