# Thin: each target is a command that anyone can type. The README lists them for systems
# without make.

PYTHON ?= python3
VENV ?= .venv
LAB_FLAGS ?=

BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -c constraints.txt -e
# Processes side by side; a file's tests stay together, and so do a notebook's cells. The notebooks
# take longest, so they come first.
PYTEST = HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 \
	--dist loadscope --no-loadscope-reorder

export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: help lab test test-rest test-all test-browser execute pictures train doctor clean

help:
	@echo "make lab       open the notebooks in JupyterLab (LAB_FLAGS=--no-browser for a server only)"
	@echo "make test      ruff, unit tests and every notebook, offline, in minutes"
	@echo "make test-all  all tests, also those that take long (alone: make test-rest)"
	@echo "make test-browser   move the live controls in a real Chromium"
	@echo "make execute   run every notebook and store its outputs"
	@echo "make pictures  paint the pictures of the README and of the model card"
	@echo "make train     rehearse the whole training chain at toy size, in about two minutes"
	@echo "make doctor    look at this installation and say how to repair it"
	@echo "make clean     remove $(VENV) and what the tests left"

lab: $(VENV)/.installed
	$(BIN)/python -m sdhelpers lab $(LAB_FLAGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST)

test-rest: $(VENV)/.installed-test
	$(PYTEST) -m thorough

test-all: test test-rest

# Without Chromium these tests are skipped, and say so. SD_SCREENSHOTS=folder keeps pictures.
test-browser: $(VENV)/.installed-browser
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m browser -rs tests/browser

execute: $(VENV)/.installed-test
	HF_HUB_OFFLINE=1 $(BIN)/python -m tools.execute_notebooks

pictures: $(VENV)/.installed-test
	HF_HUB_OFFLINE=1 $(BIN)/python -m tools.make_pictures

train: $(VENV)/.installed
	HF_HUB_OFFLINE=1 $(BIN)/python -m training.smoke

doctor: $(VENV)/.installed
	$(BIN)/python -m sdhelpers doctor

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

# The stamps make a second call free: pip runs again only when the two files change.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing into $(VENV): minutes the first time, nothing the next."
	$(INSTALL) .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing into $(VENV): minutes the first time, nothing the next."
	$(INSTALL) ".[test]"
	@touch $(VENV)/.installed $@

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(INSTALL) ".[test,browser]"
	@touch $@

# A .venv that somebody made, with a torch of their choice inside, is kept.
$(VENV)/.made:
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) and 'Python 3.11 to 3.14 is needed; this is ' + sys.version.split()[0] + '. Try: make PYTHON=python3.11 ...')"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
		{ echo "No virtual environment could be made. On Debian: apt install python3-venv"; exit 1; }
	@touch $@
