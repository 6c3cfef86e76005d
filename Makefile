# Everything runs from a virtual environment that this file makes; on a bare machine only Python >= 3.11 is needed.
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

lint: $(VENV)/.dev  ## ruff, pyright, import contracts, tsc, eslint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python labextension/models.py check
	$(BIN)/python labextension/build.py check

docs: $(VENV)/.docs  ## The site, in build/docs; a warning is an error, and so is a link that leads nowhere
	$(BIN)/sphinx-build -W --keep-going -q -c docs -d build/doctrees . build/docs

test: $(VENV)/.dev frontend  ## Everything, against a real BuildKit, a real registry and a real browser
	$(BIN)/python labextension/build.py test
	$(BIN)/python -m tests.services.install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup
	PYBUILD_HOME=$$(mktemp -d) $(BIN)/python -m pytest --nbval-lax --nbval-current-env notebooks -p no:cacheprovider

PROTO = pybuild_magic/builders/proto
proto: $(VENV)/.dev  ## Generate the messages of BuildKit's API from their .proto files
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. $(PROTO)/*.proto
	# The check of versions would force everybody to a protobuf as new as the compiler; the code runs with older ones.
	sed -i '/import runtime_version/d; /^# Protobuf Python Version/d; /^_runtime_version\.Validate/,/^)/d' $(PROTO)/*_pb2.py

types: $(VENV)/.dev  ## Write the TypeScript types of what Python tells the page
	$(BIN)/python labextension/models.py

places: $(VENV)/.dev frontend  ## Every task in every place where users are, in real containers: 45 minutes
	$(BIN)/python -m tests.services.install
	PYBUILD_PLACES=all $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup tests/places

conformance: $(VENV)/.dev  ## The embedded builder against BuildKit, case by case; writes tests/conformance/README.md
	$(BIN)/python -m tests.services.install
	$(BIN)/python -m tests.conformance

bench: $(VENV)/.dev frontend  ## Ours and `docker buildx build` in turns, and the page: medians, ratios, memory
	$(BIN)/python -m tests.services.install
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist benchmarks/results labextension/node_modules labextension/lib labextension/.built
