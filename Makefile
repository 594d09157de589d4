PYTHON ?= python3
VENV := .venv
# On as many cores as there are, one process to each; torch uses one thread in each.
SUITE := $(VENV)/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadgroup
REST := kill or cluster or statistical or slow

PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: run test test-all test-rest suite types docs clean

# Install the product and run the main job on the embedded images.
run: $(VENV)/.installed
	$(VENV)/bin/royalty run

# Install what development needs too, then check style, types and behaviour.
test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(MAKE) --jobs 2 types suite
	cd docs && PYTHONPATH=. ../$(VENV)/bin/zensical build --strict

# What a change is checked with each time.
suite: $(VENV)/.installed-dev
	$(SUITE) -m 'not ($(REST))'

# Everything, with what kills runs, starts clusters, draws thousands of times or is slow.
test-all: test test-rest

# What `make test` leaves out.
test-rest: $(VENV)/.installed-all
	$(SUITE) -m '$(REST)'

# Write the reference from the code, and build the site in docs/site; a warning or a broken link is an error.
docs: $(VENV)/.installed-dev
	$(VENV)/bin/python docs/generator
	cd docs && PYTHONPATH=. ../$(VENV)/bin/zensical build --strict --clean

# The rooms as the one package that they are installed as: mypy does not see an editable install's mapping of them.
types: $(VENV)/.installed-dev
	mkdir -p build/rooms/royalty
	for room in flows tasks models infra; do ln -sfn "../../../$$room" "build/rooms/royalty/$$room"; done
	for file in __init__.py py.typed; do ln -sfn "../../../royalty/$$file" "build/rooms/royalty/$$file"; done
	$(VENV)/bin/mypy

$(VENV)/.installed: pyproject.toml requirements.lock
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[cpu]'
	$(VENV)/bin/python -m royalty.infra.servers.templates
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)/.installed-all: $(VENV)/.installed-dev
	$(PIP) --editable '.[dev,geomloss,ray]'
	touch $@

clean:
	rm -rf $(VENV) .royalty docs/site docs/.cache
