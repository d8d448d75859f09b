# make demo   set up, fuse the bracket in demo/, and show where the result is
# make test   set up and run the tests (make slow: the slow ones too)
# Nothing is needed beforehand but Python 3.11 to 3.13 and make. PYTHON=python3.12 picks another.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --disable-pip-version-check -q -c constraints.txt
USE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.PHONY: demo test slow lint type format docs bench wheel clean

demo: $(USE)
	@mkdir -p demo-out
	@$(RUN) -m hdrmerge fuse demo/*.jpg -o demo-out/out.exr --preview demo-out/preview.jpg
	@echo "The HDR image is demo-out/out.exr, a picture of it demo-out/preview.jpg."

test: $(DEV)
	$(RUN) -m pytest

slow: $(DEV)
	$(RUN) -m pytest -m "not gpu"

lint: $(DEV)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(DEV)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

type: $(DEV)
	$(RUN) -m mypy --strict -p hdrmerge

docs: $(DEV)
	$(RUN) docs/make_cli.py
	$(RUN) docs/make_pictures.py

bench: $(DEV)
	$(RUN) tests/benchmarks/speed.py

wheel: $(DEV)
	$(RUN) -m pip wheel --disable-pip-version-check -q --no-deps -w dist .

clean:
	rm -rf $(VENV) build dist demo-out *.egg-info .pytest_cache .mypy_cache .ruff_cache

# The environment is made once, and again only when what is to be installed changes. The package
# is installed as editable: edits in the checkout count at once.
$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "hdrmerge needs Python 3.11 to 3.13; $(PYTHON) is another." \
	       "Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; \
	  rm -rf $(VENV); exit 1; }

$(USE): pyproject.toml constraints.txt | $(RUN)
	@echo "Installing hdrmerge and what it needs into $(VENV); the first time takes minutes."
	@$(PIP) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(RUN)
	@echo "Installing hdrmerge and what its tests need into $(VENV); the first time takes minutes."
	@$(PIP) -e '.[dev]'
	@touch $(USE) $@
