export COMPRESS_BENCH_DATA

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench interop lint clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .[cpu,openvino,trt-rtx,dev]
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

# Other people's clients, with the libraries that they need, in an environment of their own
$(VENV)-interop/installed: Makefile
	$(PYTHON) -m venv $(VENV)-interop
	$(VENV)-interop/bin/pip install --quiet "torch>=2.12,<2.14" "transformers>=4.57,<4.58" \
		"optimum-onnx[onnxruntime]==0.1.0" "pytest>=8.4"
	touch $@

interop: $(VENV)/installed $(VENV)-interop/installed
	rm -rf artifacts/interop && mkdir -p artifacts/interop
	$(BIN)/python tests/interop/make_runs.py artifacts/interop
	COMPRESS_INTEROP=artifacts/interop $(VENV)-interop/bin/pytest --quiet --noconftest tests/interop

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VENV)-interop build *.egg-info
