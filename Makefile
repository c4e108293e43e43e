# Everything a developer runs. `make` alone prints this list.
# PYTHON is the interpreter that makes the environment: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup tiny test test-fast test-unity demo lint format bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv, build llama.cpp for this CPU, fetch the model (seconds when done before)
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) here: install Python 3.11 or newer (apt install python3 python3-venv)." >&2; exit 1; }
	@"$(PYTHON)" tools/setup.py

tiny: setup
	@$(BIN)/python models/tiny.py

test: tiny ## Run every test, offline
	$(BIN)/python -m pytest

test-fast: setup ## Run the tests that need no model
	$(BIN)/python -m pytest -m "not model"

test-unity: tiny ## Test the C# client and the Unity package under Mono (unpacked into build/)
	@tools/mono.sh build/mono
	@tools/test_unity.sh

demo: setup ## Talk with a character
	@$(BIN)/npc-engine demo

lint: setup ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup ## Put the code into the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## Measure the decode loop against a bare one
	$(BIN)/npc-engine bench crowd --model models/SmolLM2-135M-Instruct.Q4_1.gguf --parts speakers --speakers 1,8 --out build/crowd.json

clean: ## Remove .venv and everything generated (keeps the fetched models and the wheel cache)
	rm -rf .venv build dist models/tiny .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
