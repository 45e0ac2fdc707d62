export COMPRESS_BENCH_DATA

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint clean

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

# Other data: make bench COMPRESS_BENCH_DATA=folder with train, validation and test files
bench: $(VENV)/installed
	$(BIN)/pip install --quiet --editable .[bench]
	$(BIN)/pytest bench --quiet --benchmark-columns=median,iqr,rounds

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info
