PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: run test clean

# Install the product and run the main job on the embedded images.
run: $(VENV)/.installed
	$(VENV)/bin/royalty run

# Install what development needs too, then check style, types and behaviour.
test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest

$(VENV)/.installed: pyproject.toml requirements.lock
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[cpu]'
	$(VENV)/bin/python -m royalty.infra.servers.loopback
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .royalty
