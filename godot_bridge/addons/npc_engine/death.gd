@tool
extends RefCounted
## What the exit status of an engine that was ended by its system means, and what to do about it.
##
## The same numbers and sentences as in the Python package; tests/vectors/deaths.json holds them
## together.

## The status of a shell for a file that may not be executed.
const NO_PROGRAM := 126

const _INSTRUCTION: PackedStringArray = [
	(
		"This computer's processor ({cpu}) lacks instructions that this build of the engine "
		+ "needs."
	),
	(
		"Use a build that suits this processor: one that was made on this computer, or one "
		+ "that was made for all (llama.cpp with GGML_NATIVE=OFF)."
	),
]
const _CRASH: PackedStringArray = [
	"It crashed in native code.",
	(
		"Run `npc-engine doctor` with the same model; if that crashes too, another build or "
		+ "file of the model may not."
	),
]
const _ABORT: PackedStringArray = [
	"llama.cpp gave up.",
	(
		"The last lines of the log say what it found; run `npc-engine doctor` with the same "
		+ "model."
	),
]
const _MEMORY: PackedStringArray = [
	"It was ended from outside; mostly the system does that when memory runs out.",
	"Take a smaller model, --window or --slots, or close other programs.",
]
const _FILE: PackedStringArray = [
	(
		"A file could not be read to its end: the model was changed or its disk failed "
		+ "meanwhile, or the disk is full."
	),
	"Let the file of the model alone while the engine runs, and look at the disk.",
]
const _LIBRARY: PackedStringArray = [
	"A library that it needs is missing, or is made for another kind of computer.",
	"Keep the engine's folder whole; on Windows install the Visual C++ redistributable " + "(x64).",
]
const _NOT_FOUND: PackedStringArray = [
	"The program, its interpreter or a library of it was not found.",
	"Keep the engine's folder whole, and give the path of the program itself.",
]
const _NOT_PROGRAM: PackedStringArray = [
	"The file may not be executed, or is made for another system.",
	"Make it executable (chmod +x), and take the build for this system.",
]
const _STOPPED: PackedStringArray = [
	"Somebody ended it.",
	"Start it again.",
]
const _FORBIDDEN: PackedStringArray = [
	"A sandbox forbids a system call that it needs.",
	"Let the engine run outside of the sandbox, or allow what it asks for.",
]

## Signals by their numbers; SIGBUS on Linux (7) and on macOS (10).
const _SIGNALS := {
	2: _STOPPED,
	4: _INSTRUCTION,
	6: _ABORT,
	7: _FILE,
	8: _CRASH,
	9: _MEMORY,
	10: _FILE,
	11: _CRASH,
	15: _STOPPED,
	31: _FORBIDDEN,
}
## NTSTATUS values, without a sign.
const _WINDOWS := {
	0xC000001D: _INSTRUCTION,
	0xC0000096: _INSTRUCTION,
	0xC0000005: _CRASH,
	0xC00000FD: _CRASH,
	0xC0000374: _CRASH,
	0xC0000409: _ABORT,
	0xC0000006: _FILE,
	0xC0000017: _MEMORY,
	0xC000012D: _MEMORY,
	0xC0000135: _LIBRARY,
	0xC0000138: _LIBRARY,
	0xC0000139: _LIBRARY,
	0xC0000142: _LIBRARY,
	0xC000007B: _LIBRARY,
	0xC000013A: _STOPPED,
}


## Returns the cause and what to do; nothing for a status that programs choose themselves.
static func of(status: int) -> PackedStringArray:
	var found: PackedStringArray
	if status < 0 or status > 0xFF:
		found = _WINDOWS.get(status & 0xFFFFFFFF, PackedStringArray())
	elif status == NO_PROGRAM or status == NO_PROGRAM + 1:
		found = _NOT_PROGRAM if status == NO_PROGRAM else _NOT_FOUND
	else:
		found = _SIGNALS.get(status - 128, PackedStringArray())
	if found.is_empty():
		return found
	return [found[0].replace("{cpu}", OS.get_processor_name()), found[1]]


## The same for what [method OS.get_process_exit_code] returns. On Unix that is, for a child that a
## signal has ended, the number of the signal, 128 more where it has left a core. The engine itself
## ends with 0, 1 or 2.
static func of_child(status: int) -> PackedStringArray:
	var is_signal := status > 2 and status < 32 and OS.get_name() != "Windows"
	return of(status + 128 if is_signal else status)
