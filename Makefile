# Everything runs in .venv, which is made on first use from exact versions.
PYTHON ?= python3
THREADS ?= 2
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv/.docs-installed
# As the command line does: torch may use several threads, NumPy's small products gain nothing.
BOUNDED := OMP_NUM_THREADS=$(THREADS) OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help demo test test-all drills lint format docs bench bench-networks bench-verdicts bench-latent bench-experiment models priors clean

help:
	@echo "make demo   invert the demo measurement and write a report to demo-result/"
	@echo "make test   run the tests"
	@echo "make test-all  run the tests, also on more files and with other versions of Python (2 hours)"
	@echo "make drills kill inversions at random moments, among other faults (some minutes)"
	@echo "make lint   ruff, mypy and codespell"
	@echo "make format let ruff format the sources"
	@echo "make docs   build the documentation in docs/_build/html"
	@echo "make priors judge priors by known force constants, for the documentation (5 minutes)"
	@echo "make bench  compare times with those of other codes, for the documentation (5 minutes)"
	@echo "make bench-networks  judge networks on known truths (many hours; can be stopped and goes on)"
	@echo "make bench-verdicts  what the verdict says of good and of spoilt input (2 hours)"
	@echo "make bench-latent    look at the latent spaces of the models, for the documentation"
	@echo "make bench-experiment  what orientations, incident energy and counts buy, for the documentation (6 minutes)"
	@echo "make models          train the models that come with fcinv (hours; can be stopped)"

.venv: $(INSTALLED)

# Debian ships venv without ensurepip unless python3-venv is installed: then the pip that
# comes with Python puts a pip into the environment.
$(INSTALLED): requirements/pinned.txt setup.py
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
	    $(PYTHON) -m venv --without-pip --clear .venv && \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@echo "Installing into .venv (some minutes the first time)"
	@$(PIP) -r requirements/pinned.txt
	@$(PIP) --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS_INSTALLED): requirements/docs.txt $(INSTALLED)
	@$(PIP) -r requirements/docs.txt
	@touch $@

# Exit code 3 is a result that should not be trusted: there is a report then, too.
demo: $(INSTALLED)
	@$(BOUNDED) $(BIN)/fcinv invert demo/si_one_orientation.nxs --structure demo/Si.cif \
	    --energy-fwhm 2.4 -o demo-result || test $$? -eq 3
	@echo "Open the report in a browser: $(CURDIR)/demo-result/report.html"

# Processes of one thread each, which gain more than threads do. In the order of the files, as
# those with the fewest tests, which would come last, take the longest.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1 \
    $(BIN)/python -m pytest -q -n $(THREADS) --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)
	@$(PYTEST)

test-all: $(INSTALLED)
	@$(PYTEST) -m "slow or not slow"
	@$(BIN)/python tests/environments.py

# Inversions killed at random moments, ended, run twice at once, without home or memory.
drills: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "slow or not slow" tests/test_fault_drills.py

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell

format: $(INSTALLED)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(DOCS_INSTALLED)
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Documentation: $(CURDIR)/docs/_build/html/index.html"

bench: $(INSTALLED)
	@$(BOUNDED) PYTHONPATH=tests $(BIN)/python -m benchmarks docs/benchmarks

# Processes of one thread each.
bench-networks: $(INSTALLED)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m benchmarks.networks

# What the verdict says of good and of spoilt input: a line each in build/verdicts.jsonl.
bench-verdicts: $(INSTALLED)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m benchmarks.verdicts

bench-latent: $(INSTALLED)
	@$(BOUNDED) PYTHONPATH=tests $(BIN)/python -m benchmarks.latent_space

bench-experiment: $(INSTALLED)
	@$(BOUNDED) PYTHONPATH=tests $(BIN)/python -m benchmarks.experiment docs/experiment

# The models that come with fcinv: crystal, architecture, options. One thread each, as they were
# made; each training can be killed and goes on.
define train
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1 $(BIN)/fcinv train \
	    --structure tests/data/structures/$(1).cif --architecture $(2) $(3) \
	    -o build/models/$(1)-$(2) --resume
	@cp build/models/$(1)-$(2)/model.safetensors fcinv_core/data/models/$(1)-$(2).safetensors
endef
BORN_OF_MGO := --born tests/data/structures/MgO.BORN

models: $(INSTALLED)
	$(call train,Ge,direct,--measurements 120000)
	$(call train,Si,direct,--measurements 24000 --from Ge-direct)
	$(call train,MgO,direct,--measurements 24000 --from Ge-direct $(BORN_OF_MGO))
	$(call train,Al,direct,--measurements 24000 --from Ge-direct)
	$(call train,Cu,direct,--measurements 16000 --from Al-direct)
	$(call train,Ge,latent,--measurements 32000 --from Ge-direct)
	$(call train,MgO,latent,--measurements 32000 --from MgO-direct $(BORN_OF_MGO))
	$(call train,Al,latent,--measurements 32000 --from Al-direct)

priors: $(INSTALLED)
	@$(BOUNDED) PYTHONPATH=tests $(BIN)/python -m prior_truths docs/prior

clean:
	rm -rf build dist docs/_build demo-result
