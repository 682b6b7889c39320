# Thin: each target is a command that anyone can type. The README lists them for systems
# without make.

PYTHON ?= python3
VENV ?= .venv
LAB_FLAGS ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: help lab test execute pictures doctor clean

help:
	@echo "make lab       open the notebooks in JupyterLab (LAB_FLAGS=--no-browser for a server only)"
	@echo "make test      ruff, unit tests and every notebook, offline"
	@echo "make execute   run every notebook and store its outputs"
	@echo "make pictures  paint the pictures of the README and of the model card"
	@echo "make doctor    look at this installation and say how to repair it"
	@echo "make clean     remove $(VENV) and what the tests left"

lab: $(VENV)/.installed
	$(BIN)/python -m sdhelpers lab $(LAB_FLAGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

execute: $(VENV)/.installed-test
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.execute_notebooks

pictures: $(VENV)/.installed-test
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.make_pictures

doctor: $(VENV)/.installed
	$(BIN)/python -m sdhelpers doctor

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

# The stamps make a second call free: pip runs again only when the two files change.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing into $(VENV): minutes the first time, nothing the next."
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing into $(VENV): minutes the first time, nothing the next."
	$(BIN)/python -m pip install -c constraints.txt -e ".[test]"
	@touch $(VENV)/.installed $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; this is ' + sys.version.split()[0] + '. Try: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
