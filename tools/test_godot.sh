#!/usr/bin/env bash
# Runs the tests of the Godot addon: tools/test_godot.sh [part of a test's name ...]
# GODOT names another Godot, NPC_EXECUTABLE another engine. The example game is played once more on
# a virtual display, if one can be had; its pictures are in build/godot/ then.
set -euo pipefail
cd "$(dirname "$0")/.."

godot=$(tools/godot.sh)
export NPC_GODOT=$godot
export NPC_EXECUTABLE=${NPC_EXECUTABLE:-$PWD/.venv/bin/npc-engine}
export NPC_PYTHON=${NPC_PYTHON:-$PWD/.venv/bin/python}
export NPC_MODELS=${NPC_MODELS:-$PWD/models}
work=$(mktemp -d)
export TMPDIR=$work  # the tests' folders, saves, and the servers that they have started
display=
end() {
    [[ -z $display ]] || kill "$display" 2>/dev/null || true
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
# Runs the tests: run_tests LOG COMMAND ... The last word has to be the runner's: Godot exits with 0
# when a script ends it early.
run_tests() {
    local log=$1
    shift
    timeout -k 5 600 "$@" 2>&1 | tee "$log"
    grep -qE '^[0-9]+ tests, 0 failures$' "$log" || return 1
    if grep -E 'leaked at exit|still in use at exit' "$log"; then
        echo "Something is not freed: run with --verbose." >&2
        return 1
    fi
}
runner=(--path godot_bridge --script res://tests/run.gd --)
run_tests "$work/tests.log" "$godot" --headless "${runner[@]}" "$@"
if (($# == 0)); then
    "$NPC_PYTHON" tools/godot_docs.py --check
fi

# Starts a virtual display and sets DISPLAY; says why not.
start_display() {
    local xvfb
    drawing=$(tools/godot.sh render) || return 1
    xvfb=$(command -v Xvfb || echo "$(dirname "$drawing")/xvfb")
    [[ -x $xvfb ]] || { echo "There is no Xvfb (apt install xvfb)." && return 1; }
    "$xvfb" -displayfd 3 -screen 0 1280x720x24 -nolisten tcp 3>"$work/display" \
        >"$work/xvfb.log" 2>&1 &
    display=$!
    for _ in {1..100}; do
        [[ -s $work/display ]] && break
        sleep 0.1
    done
    [[ -s $work/display ]] || { tail -3 "$work/xvfb.log" && return 1; }
    export DISPLAY=:$(cat "$work/display")
}
if grep -q 'test_example::' "$work/tests.log"; then
    if start_display; then
        export NPC_SHOTS=$PWD/build/godot
        mkdir -p "$NPC_SHOTS"
        run_tests "$work/drawn.log" "$drawing" --rendering-driver opengl3 --audio-driver Dummy \
            "${runner[@]}" test_example
    else
        echo "The example game was not drawn: no virtual display." >&2
    fi
fi
