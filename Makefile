# Each target does all its own set-up, on a fresh machine too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := packages
HOST := 127.0.0.1
PORT := 8080

.PHONY: run seed test fast lint bench clean

run: $(VENV)/.installed seed
	@echo
	@echo "  pip install --index-url http://$(HOST):$(PORT)/simple/ falcon"
	@echo "  uv pip install --default-index http://$(HOST):$(PORT)/simple/ falcon"
	@echo
	$(BIN)/pyindex serve $(PACKAGES) --host $(HOST) --port $(PORT)

# The project's own wheel and what it needs: something to install from the new index.
seed: $(VENV)/.installed
	@mkdir -p $(PACKAGES)
	@ls $(PACKAGES)/pyindex-*.whl >/dev/null 2>&1 \
	  || $(BIN)/pip wheel --quiet --wheel-dir $(PACKAGES) . \
	  || echo "no registry is reachable: put package files into $(PACKAGES)/ yourself"

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.tested: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $(VENV)/.installed $@

test: $(VENV)/.tested lint
	tests/system-packages nginx wrk systemd:systemd-analyze logrotate strace minisign faketime
	tests/run $(BIN)/python

fast: $(VENV)/.tested
	tests/run $(BIN)/python fast

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.tested
	tests/system-packages nginx wrk
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .cache build *.egg-info
