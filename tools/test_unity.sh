#!/bin/bash
# Compiles the C# client, the Unity layer (against stubs of Unity), their tests and samples with warnings as
# errors, and runs them under Mono against a real engine. `make test-unity` puts Mono there first (tools/mono.sh).
#
#   NPC_ENGINE   the engine, with its first arguments (default: .venv/bin/npc-engine)
#   MONO_DIR     where mono, mcs, nunit-console and nunit.framework.dll are (default: build/mono)
set -euo pipefail
cd "$(dirname "$0")/.."

package=bindings/unity/com.npcengine.unity
mono=$(realpath "${MONO_DIR:-build/mono}")
out=build/unity
export NPC_ENGINE=${NPC_ENGINE:-$PWD/.venv/bin/npc-engine}
export NPC_VECTORS=$PWD/tests/vectors
export NPC_TINY_MODEL=$PWD/models/tiny/tiny-llama.gguf
export NPC_TALK_MODEL=$PWD/models/SmolLM2-135M-Instruct.Q4_1.gguf
export NPC_CORE_SOURCES=$PWD/$package/Runtime/Core
export NPC_VILLAGE="$PWD/$package/Samples~/VillageSquare"
export NPC_CONSOLE="$mono/mono $PWD/$out/Console.exe"

mkdir -p "$out"
compile() { "$mono/mcs" -debug -langversion:7.2 -warnaserror "$@"; }
# -doc makes a public member without documentation an error.
compile -target:library -doc:$out/NpcEngine.Core.xml -out:$out/NpcEngine.Core.dll $package/Runtime/Core/*.cs
# The layer sees the core, and of Unity the stubs alone: what these do not declare does not compile.
stubs=bindings/unity/stubs
compile -target:library -out:$out/UnityEngine.dll $stubs/*.cs
unity="-r:$out/NpcEngine.Core.dll -r:$out/UnityEngine.dll"
compile -target:library -doc:$out/NpcEngine.Unity.xml -out:$out/NpcEngine.Unity.dll $unity $package/Runtime/Unity/*.cs
compile -target:library -doc:$out/VillageSquare.xml -out:$out/VillageSquare.dll $unity -r:$out/NpcEngine.Unity.dll \
	"$NPC_VILLAGE"/*.cs
compile -target:library -out:$out/NpcEngine.Core.Tests.dll $unity -r:$out/NpcEngine.Unity.dll -r:$out/VillageSquare.dll \
	-r:"$mono/nunit.framework.dll" $package/Tests/Core/*.cs $stubs/tests/*.cs
# The lines of the README, in a method.
{ echo 'using System; using System.Threading.Tasks; using NpcEngine;'
	echo 'internal static class Readme { internal static async Task Run() {'
	awk '/^```csharp$/ { on = 1; next } /^```$/ { on = 0 } on' README.md
	echo '} }'; } > "$out/Readme.cs"
compile -target:library -out:$out/Readme.dll -r:$out/NpcEngine.Core.dll "$out/Readme.cs"
compile -target:exe -out:$out/Console.exe -r:$out/NpcEngine.Core.dll "$package/Samples~/Console/Program.cs"

# nunit-console ends with the number of failures; a test that was ignored would be a test that is not run.
status=0
(cd "$out" && timeout 480 "$mono/nunit-console" -nologo -noxml "$@" NpcEngine.Core.Tests.dll) > "$out/tests.log" 2>&1 || status=$?
cat "$out/tests.log"
((status == 0)) || exit 1
grep -q 'Ignored: 0' "$out/tests.log" || { echo "Some tests were not run." >&2; exit 1; }
