extends Node
## What every file of tests extends: checks, waits with an end, and servers that are cleaned up.

const EngineNode := preload("res://addons/npc_engine/npc_engine.gd")
const WAIT_S := 30.0

## What did not hold.
var failures: PackedStringArray = []
## Whether it is the last test of its file that is run now.
var is_last := false
## Seconds that one test may take.
var limit_s := 60.0

var _pids: PackedInt32Array = []


## Called before and after each test.
func before() -> void:
	pass


func after() -> void:
	for child in get_children():
		child.free()
	for pid in _pids:
		if lives(pid):
			OS.kill(pid)
	_pids.clear()
	_note_pids()


func check(holds: bool, what: String) -> void:
	if not holds:
		failures.append(what)


func equal(found: Variant, expected: Variant, what := "") -> void:
	if typeof(found) != typeof(expected) or found != expected:
		failures.append("%s: %s is not %s" % [what, str(found).left(300), str(expected).left(300)])


## Waits until `condition` holds; notes a failure when it does not in time.
func until(condition: Callable, what: String, seconds := WAIT_S) -> bool:
	var end := Time.get_ticks_msec() + int(seconds * 1000)
	while not condition.call():
		if Time.get_ticks_msec() > end:
			failures.append("never: " + what)
			return false
		await get_tree().process_frame
	return true


## Waits for an answer, not for ever.
func answered(answer: NPCAnswer, seconds := WAIT_S) -> bool:
	return await until(func() -> bool: return answer.is_finished, "an answer", seconds)


## Waits for what a coroutine returns, not for ever.
func settled(call: Callable, seconds := WAIT_S) -> NPCAnswer:
	var box: Array[NPCAnswer] = []
	var run := func() -> void: box.append(await call.call())
	run.call()
	var came := await until(func() -> bool: return not box.is_empty(), "an answer", seconds)
	return box[0] if came else NPCAnswer.new()


func pass_seconds(seconds: float) -> void:
	await get_tree().create_timer(seconds).timeout


func setting(variable: String) -> String:
	var value := OS.get_environment(variable)
	check(not value.is_empty(), "the environment has no %s" % variable)
	return value


func model_path(which: String) -> String:
	return setting("NPC_MODELS").path_join(which)


## An engine of its own, not started yet, with an empty folder of saves.
func make_engine(model := "tiny/tiny-llama.gguf") -> EngineNode:
	var engine := EngineNode.new()
	engine.start_with_game = false
	engine.executable = setting("NPC_EXECUTABLE")
	engine.model = model_path(model)
	engine.arguments = ["--window", "512", "--slots", "4", "--threads", "1"]
	engine.saves = fresh_folder()
	engine.max_pause_s = 0.5
	add_child(engine)
	return engine


func started(engine: EngineNode) -> bool:
	engine.start()
	var settles := func() -> bool: return engine.is_engine_ready() or not engine.is_active()
	await until(settles, "an engine that is ready or not")
	check(engine.is_engine_ready(), "no engine: %s" % engine.error)
	return engine.is_engine_ready()


func make_character(
	engine: EngineNode, npc: String, persona := "Keeps the inn.", more := {}
) -> NPCCharacter:
	var character := NPCCharacter.new()
	character.engine = engine
	character.npc = npc
	character.display_name = npc.capitalize()
	character.persona = persona
	character.max_tokens = 24
	for property: String in more:
		character.set(property, more[property])
	add_child(character)
	return character


func fresh_folder() -> String:
	var title := "npc_test_%d_%d" % [OS.get_process_id(), Time.get_ticks_usec()]
	var folder := setting("TMPDIR").path_join(title)
	DirAccess.make_dir_recursive_absolute(folder)
	return folder


func spawn_process(path: String, arguments: PackedStringArray) -> int:
	var pid := OS.create_process(path, arguments)
	check(pid > 0, "%s starts" % path)
	_pids.append(pid)
	_note_pids()
	return pid


## For tools/test_godot.sh, which ends what is left if this process is killed.
func _note_pids() -> void:
	var file := FileAccess.open(setting("TMPDIR").path_join("pids"), FileAccess.WRITE)
	for pid in _pids:
		file.store_line(str(pid))


## Whether a process runs, whoever's child it is (Linux). A zombie does not.
static func lives(pid: int) -> bool:
	var file := FileAccess.open("/proc/%d/stat" % pid, FileAccess.READ)
	return file != null and not file.get_line().get_slice(") ", 1).begins_with("Z")


## Ends a process as a crash would: [method OS.kill] would also take note of its end.
static func kill(pid: int) -> void:
	OS.execute("kill", ["-9", str(pid)])
