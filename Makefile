export COMPRESS_BENCH_DATA
export COMPRESS_FUZZ_SEED

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench fuzz interop lint docs clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .[all,openvino,text,sign,trt-rtx,docs,dev]
	touch $@

demo: $(VENV)/installed
	$(BIN)/compress distill
	$(BIN)/compress export --trt
	$(BIN)/compress bench
	$(BIN)/compress bundle
	$(BIN)/compress verify artifacts/latest/bundle

test: $(VENV)/installed
	$(BIN)/pytest --quiet -n 2 --dist loadfile --no-loadscope-reorder

# Other data: make bench COMPRESS_BENCH_DATA=folder with train, validation and test files
bench: $(VENV)/installed
	$(BIN)/pip install --quiet --editable .[studies]
	$(BIN)/pytest bench/studies --quiet --benchmark-columns=median,iqr,rounds

# Malformed input of every kind; another seed: make fuzz COMPRESS_FUZZ_SEED=7
fuzz: $(VENV)/installed
	PYTHONPATH=tests/helpers $(BIN)/python tests/fuzz --seed $${COMPRESS_FUZZ_SEED:-0}

# Other people's clients, with the libraries that they need, in an environment of their own
$(VENV)-interop/installed: Makefile
	$(PYTHON) -m venv $(VENV)-interop
	$(VENV)-interop/bin/pip install --quiet "torch>=2.12,<2.14" "transformers>=4.57,<4.58" \
		"optimum-onnx[onnxruntime]==0.1.0" "sentence-transformers>=5.1,<6" "pytest>=8.4"
	touch $@

# Triton's own server wants an older NumPy; what its Python models need is what serving needs, without PyTorch
$(VENV)-triton/installed: Makefile pyproject.toml
	$(PYTHON) -m venv $(VENV)-triton
	$(VENV)-triton/bin/pip install --quiet "nvidia-pytriton==0.7.0" "tritonclient[grpc,http]>=2.60,<3" \
		"openai>=2,<4" "pytest>=8.4" --editable .[cpu,serve]
	touch $@

# Static students' vectors
$(VENV)-model2vec/installed: Makefile
	$(PYTHON) -m venv $(VENV)-model2vec
	$(VENV)-model2vec/bin/pip install --quiet "model2vec>=0.10,<0.11" "pytest>=8.4"
	touch $@

# Vectors and scores
$(VENV)-fastembed/installed: Makefile
	$(PYTHON) -m venv $(VENV)-fastembed
	$(VENV)-fastembed/bin/pip install --quiet "fastembed>=0.9,<0.10" "pytest>=8.4"
	touch $@

# The oldest ONNX Runtime that PyPI has for this Python; 1.15 for Python 3.11
$(VENV)-onnxruntime/installed: Makefile
	$(PYTHON) -m venv $(VENV)-onnxruntime
	for old in "onnxruntime==1.15.0 numpy<2" "onnxruntime==1.17.0 numpy<2" "onnxruntime==1.20.0"; do \
		$(VENV)-onnxruntime/bin/pip install --quiet $$old "pytest>=8.4" && break; done
	touch $@

# Folders for OpenVINO
$(VENV)-openvino/installed: Makefile
	$(PYTHON) -m venv $(VENV)-openvino
	$(VENV)-openvino/bin/pip install --quiet "optimum-intel==2.2.0" "transformers>=4.57,<4.58" "openvino>=2026.1,<2027" "pytest>=8.4"
	touch $@

# A registry of models
$(VENV)-mlflow/installed: Makefile
	$(PYTHON) -m venv $(VENV)-mlflow
	$(VENV)-mlflow/bin/pip install --quiet "mlflow-skinny>=3.10,<4" "onnx>=1.20" "onnxruntime>=1.27,<1.33" pandas "pytest>=8.4"
	touch $@

# What editors read YAML with, where there is npm
$(VENV)-node/installed: Makefile
	mkdir -p $(VENV)-node
	if command -v npm > /dev/null; then npm install --silent --prefix $(VENV)-node yaml-language-server@1.19; fi
	touch $@

interop: $(VENV)/installed $(VENV)-interop/installed $(VENV)-triton/installed $(VENV)-model2vec/installed \
		$(VENV)-fastembed/installed $(VENV)-onnxruntime/installed $(VENV)-openvino/installed $(VENV)-mlflow/installed \
		$(VENV)-node/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" COMPRESS_NODE_MODULES=$(VENV)-node/node_modules $(BIN)/pytest --quiet --noconftest tests/interop/test_recipe_schema.py
	rm -rf artifacts/interop && mkdir -p artifacts/interop
	$(BIN)/python tests/interop/make_runs.py artifacts/interop
	COMPRESS_INTEROP=artifacts/interop $(VENV)-interop/bin/pytest --quiet --noconftest tests/interop/test_optimum.py tests/interop/test_client.py \
		tests/interop/test_sentence_transformers.py
	PATH="$(CURDIR)/$(BIN):$$PATH" COMPRESS_INTEROP=artifacts/interop $(BIN)/pytest --quiet --noconftest tests/interop/test_browser.py \
		tests/interop/test_browser_tokens.py
	COMPRESS_INTEROP=artifacts/interop $(VENV)-fastembed/bin/pytest --quiet --noconftest tests/interop/test_fastembed.py
	COMPRESS_INTEROP=artifacts/interop $(VENV)-onnxruntime/bin/pytest --quiet --noconftest tests/interop/test_old_onnxruntime.py
	COMPRESS_INTEROP=artifacts/interop $(VENV)-openvino/bin/pytest --quiet --noconftest tests/interop/test_optimum_intel.py
	COMPRESS_INTEROP=artifacts/interop $(VENV)-mlflow/bin/pytest --quiet --noconftest tests/interop/test_mlflow.py
	COMPRESS_INTEROP=artifacts/interop $(VENV)-model2vec/bin/pytest --quiet --noconftest tests/interop/test_model2vec.py
	COMPRESS_INTEROP=artifacts/interop $(VENV)-triton/bin/pytest --quiet --noconftest tests/interop/test_triton.py tests/interop/test_server.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(VENV)-interop $(VENV)-triton $(VENV)-model2vec $(VENV)-fastembed $(VENV)-onnxruntime $(VENV)-openvino \
		$(VENV)-mlflow $(VENV)-node build site *.egg-info
