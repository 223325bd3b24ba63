# Two commands for people: `make demo` and `make test`. Both make .venv first if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# another build of torch: make TORCH_INDEX=https://… demo
TORCH_INDEX ?=
export OMP_NUM_THREADS ?= 2
# where it is set, every process would compile the package's source anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check serve lab bench tables docs atlas clean env browser

demo: $(VENV)/.installed
	$(BIN)/workbench demo

# a thread for each of the two processes: four threads that wait for two cores are many times slower
test: $(VENV)/.installed-dev browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -m ""

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check workbench tests data benchmarks docs
	$(BIN)/ruff check workbench tests data benchmarks docs
	$(BIN)/mypy
	$(BIN)/oxfmt --check 'workbench/**/*.js'
	$(BIN)/oxlint --deny-warnings workbench

serve: $(VENV)/.installed
	$(BIN)/workbench serve runs

lab: $(VENV)/.installed
	$(BIN)/jupyter lab notebooks

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

# every generated table of docs/, the page of files, and the output that the README shows
tables: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python docs/tables.py
	$(BIN)/python docs/pictures.py

# site/: the gallery's notebooks are executed, the reference is made of the docstrings
docs: $(VENV)/.installed browser
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs,transformers,torchmetrics,sklearn]'
	$(BIN)/python docs/make.py
	$(BIN)/python -m mkdocs build -q --strict

# atlas/index.html: every paper put to the test; the table of docs/papers.md is made of it
atlas: $(VENV)/.installed
	$(BIN)/workbench batch paper --grid paper=all -o atlas
	$(BIN)/python -m workbench.batch.atlas atlas

env: $(VENV)/.installed

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

# torch first and alone: a package that asks for it by range would bring another build
$(VENV)/.torch: | $(VENV)/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# the browser tests need Chromium; it is installed where it is missing and the user may
browser:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	  else echo "no chromium here: browser tests will be skipped and counted as such"; fi; }

clean:
	rm -rf $(VENV) runs out site docs/gallery
