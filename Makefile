# Two commands for a newcomer: `make demo` and `make test`. Everything is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JAZZY_PYTHON ?= $(shell for p in python3.12 $(HOME)/.pyenv/versions/3.12*/bin/python3.12; do \
	$$p -c "import sys; print(sys.executable)" 2>/dev/null && break; done)
JAZZY := .venv-jazzy
JAZZY_LOG := $(JAZZY).log
LIVE_LOG := $(VENV)-live.log
INSTALL := pip install -q --disable-pip-version-check

.PHONY: demo test test-fast test-kilted test-live test-jazzy aside-live aside-jazzy clean

demo: $(VENV)/run.stamp
	$(BIN)/nn_estimation demo

# Everything in .venv, its live nodes apart since they wait more than they work, and what Jazzy is asked. All at the
# same time, with one thread each; what was said aside is shown at the end. Nodes are started by the hundred: their
# bytecode is kept.
test: export OMP_NUM_THREADS = 1
test: export PYTHONDONTWRITEBYTECODE =
test:
	@rm -f $(LIVE_LOG) $(JAZZY_LOG)
	@$(MAKE) --no-print-directory -j3 test-kilted aside-live aside-jazzy; status=$$?; \
	cat $(LIVE_LOG) $(JAZZY_LOG); exit $$status

test-kilted: $(VENV)/test.stamp
	$(BIN)/python -m pytest --ignore test/live

test-live: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q test/live

aside-live: $(VENV)/test.stamp
	@$(MAKE) --no-print-directory test-live > $(LIVE_LOG) 2>&1

aside-jazzy:
	@$(MAKE) --no-print-directory test-jazzy > $(JAZZY_LOG) 2>&1

# The inner loop while writing code: no live nodes, no trainings.
test-fast: $(VENV)/test.stamp
	$(BIN)/python -m pytest --ignore test/live -x -q

# What needs no torch and is not about numbers alone, on the other supported distribution: Jazzy and Python 3.12.
test-jazzy:
ifeq ($(JAZZY_PYTHON),)
	@echo "SKIPPED: Jazzy on Python 3.12 was not tested: no python3.12 on this machine (set JAZZY_PYTHON)"
else
	@$(MAKE) --no-print-directory $(JAZZY)/stamp
	$(JAZZY)/bin/python -m pytest -q --ignore test/test_style.py -m "not once"
endif

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nn_estimation wants Python 3.11 or newer, this is " + sys.version.split()[0] + ": set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m $(INSTALL) --upgrade pip "setuptools>=64" wheel

$(VENV)/run.stamp: setup.py | $(BIN)/python
	@echo "Installing nn_estimation with the ROS wheels into $(VENV) (once) ..."
	$(BIN)/python -m $(INSTALL) -e ".[ros,cpu]"
	@touch $@

$(VENV)/test.stamp: setup.py | $(BIN)/python
	@echo "Installing nn_estimation with what training and tests need into $(VENV) (once) ..."
	$(BIN)/python -m $(INSTALL) -e ".[ros,cpu,train,test]"
	@touch $@ $(VENV)/run.stamp

$(JAZZY)/stamp: setup.py
	@echo "Installing nn_estimation with the Jazzy wheels into $(JAZZY) (once) ..."
	$(JAZZY_PYTHON) -m venv $(JAZZY)
	$(JAZZY)/bin/python -m $(INSTALL) --upgrade pip "setuptools>=64" wheel
	$(JAZZY)/bin/python -m $(INSTALL) -e ".[ros-jazzy,cpu,test]"
	@touch $@

clean:
	rm -rf $(VENV) $(JAZZY) $(LIVE_LOG) $(JAZZY_LOG) demo build install log *.egg-info
