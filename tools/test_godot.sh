#!/usr/bin/env bash
# Runs the tests of the Godot addon: tools/test_godot.sh [part of a test's name ...]
# GODOT names another Godot, NPC_EXECUTABLE another engine.
set -euo pipefail
cd "$(dirname "$0")/.."

godot=$(tools/godot.sh)
export NPC_GODOT=$godot
export NPC_EXECUTABLE=${NPC_EXECUTABLE:-$PWD/.venv/bin/npc-engine}
export NPC_PYTHON=${NPC_PYTHON:-$PWD/.venv/bin/python}
export NPC_MODELS=${NPC_MODELS:-$PWD/models}
work=$(mktemp -d)
export TMPDIR=$work  # the tests' folders, saves, and the servers that they have started
end() {
    while read -r pid; do kill "$pid" 2>/dev/null || true; done <"$work/pids" || true
    rm -rf "$work"
}
: >"$work/pids"
trap end EXIT

# Godot knows the names of classes only after an import, which succeeds whatever does not parse.
timeout -k 5 120 "$godot" --headless --path godot_bridge --import >"$work/import.log" 2>&1 || true
if grep -E '^(SCRIPT )?ERROR' "$work/import.log"; then
    cat "$work/import.log"
    exit 1
fi
timeout -k 5 480 "$godot" --headless --path godot_bridge --script res://tests/run.gd -- "$@" 2>&1 |
    tee "$work/tests.log"
# The last word has to be the runner's: Godot exits with 0 when a script ends it early.
grep -qE '^[0-9]+ tests, 0 failures$' "$work/tests.log"
if (($# == 0)); then
    "$NPC_PYTHON" tools/godot_docs.py --check
fi
if grep -E 'leaked at exit|still in use at exit' "$work/tests.log"; then
    echo "Something is not freed: run with --verbose." >&2
    exit 1
fi
