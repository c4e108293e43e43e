# Everything a developer runs. `make` alone prints this list.
# PYTHON is the interpreter that makes the environment: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
# ROOM is a folder below tests/: make test ROOM=kvcache, make test-fast ROOM=cli/saves
PYTEST = $(BIN)/python -m pytest -q --dist worksteal --durations 10 $(if $(ROOM),tests/$(ROOM))
# Else every worker, and every engine that a test starts, would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup tiny test test-fast test-newest lock test-godot test-unity demo lint lint-godot docs-godot docs-rooms godot-zip format bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv, build llama.cpp for this CPU, fetch the model (seconds when done before)
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) here: install Python 3.11 or newer (apt install python3 python3-venv)." >&2; exit 1; }
	@"$(PYTHON)" tools/setup.py

tiny: setup
	@$(BIN)/python models/tiny.py

test: tiny ## Run every test, offline; with ROOM=kvcache those of one room
	$(PYTEST) -n 2

test-fast: setup ## Run the tests that need neither a model nor patience, on all cores (ROOM=...)
	$(PYTEST) -n auto -m "not model and not slow"

test-newest: setup ## Run those tests with the newest release of every dependency, apart from .venv
	@"$(PYTHON)" tools/newest.py

lock: ## Renew the exact versions that `make setup` installs (tools/locks)
	@"$(PYTHON)" tools/lock.py

test-godot: tiny ## Run the tests of the Godot addon (fetches a Godot unless GODOT names one)
	@tools/test_godot.sh

test-unity: tiny ## Test the C# client and the Unity package under Mono (unpacked into build/)
	@tools/mono.sh build/mono
	@tools/test_unity.sh

demo: setup ## Talk with a character
	@$(BIN)/npc-engine demo

lint: setup ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lint-godot: build/gdtoolkit/bin/gdlint ## Check style of the Godot addon
	build/gdtoolkit/bin/gdlint godot_bridge
	build/gdtoolkit/bin/gdformat --check godot_bridge

build/gdtoolkit/bin/gdlint:
	"$(PYTHON)" -m venv build/gdtoolkit
	build/gdtoolkit/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tools/locks/gdtoolkit.txt

docs-godot: ## Write docs/godot.md from the comments in the Godot addon
	@tools/godot_docs.py

docs-rooms: ## Draw docs/rooms.svg from what npc_engine/ imports (tools/house.py prints figures)
	@"$(PYTHON)" tools/house.py picture

godot-zip: ## Pack the Godot addon as it is committed, for a game or the Asset Library
	@mkdir -p dist
	git archive --format=zip --output=dist/npc-engine-godot.zip HEAD:godot_bridge

format: setup ## Put the code into the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## Measure the decode loop against a bare one
	$(BIN)/npc-engine bench crowd --model models/SmolLM2-135M-Instruct.Q4_1.gguf --parts speakers --speakers 1,8 --out build/crowd.json

clean: ## Remove .venv and everything generated (keeps the fetched models and the wheel cache)
	rm -rf .venv build dist models/tiny .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
