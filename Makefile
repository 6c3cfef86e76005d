# Everything runs in a virtual environment that this file creates; a bare machine needs only Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= auto

.PHONY: proto types demo test lab bench docs lint places conformance frontend clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=..."'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

demo: $(VENV)/.demo  ## Run the quickstart notebook on the embedded builder
	$(BIN)/python notebooks/run.py notebooks/01-quickstart.ipynb

lab: $(VENV)/.dev frontend  ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks/01-quickstart.ipynb

frontend: $(VENV)/.dev  ## Build the widgets and the JupyterLab extension, if their sources have changed
	$(BIN)/python labextension/build.py

lint: $(VENV)/.dev  ## Check with ruff, pyright, import contracts, tsc and eslint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/lint-imports .ci/circles.toml
	$(BIN)/python labextension/models.py check
	$(BIN)/python labextension/build.py check

docs: $(VENV)/.docs  ## Build the site in build/docs; a warning is an error, and so is a link that leads nowhere
	$(BIN)/sphinx-build -W --keep-going -q -c docs -d build/doctrees . build/docs

test: $(VENV)/.dev frontend  ## Run every test, against a real BuildKit, a real registry and a real browser
	$(BIN)/python labextension/build.py test
	$(BIN)/python -m tests.services.install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup
	PYBUILD_HOME=$$(mktemp -d) $(BIN)/python -m pytest --nbval-lax --nbval-current-env notebooks -p no:cacheprovider

PROTO = pybuild_magic/builders/proto
proto: $(VENV)/.dev  ## Generate the messages of BuildKit's API from their .proto files
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. $(PROTO)/*.proto
	# The generated check would demand a protobuf as new as the compiler from everybody; the code runs with older ones, too.
	sed -i '/import runtime_version/d; /^# Protobuf Python Version/d; /^_runtime_version\.Validate/,/^)/d' $(PROTO)/*_pb2.py

types: $(VENV)/.dev  ## Write the TypeScript types of the documents that Python sends to the page
	$(BIN)/python labextension/models.py

places: $(VENV)/.dev frontend  ## Run every task in every place where builds may run, in real containers: 45 minutes
	$(BIN)/python -m tests.services.install
	PYBUILD_PLACES=all $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup tests/places

conformance: $(VENV)/.dev  ## Compare the embedded builder with BuildKit, case by case; writes tests/conformance/README.md
	$(BIN)/python -m tests.services.install
	$(BIN)/python -m tests.conformance

bench: $(VENV)/.dev frontend  ## Ours and `docker buildx build` in turns, and the page: print medians, ratios and memory
	$(BIN)/python -m tests.services.install benchmarks
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist benchmarks/results labextension/node_modules labextension/lib labextension/.built
