extends "res://tests/case.gd"
## What the tests of finding, losing and ending an engine share: its signals, servers, ports.

const FakeServer := preload("res://tests/fake_program.gd")

var _failed: Array[PackedStringArray] = []
var _n_stopped := 0
var _n_ready := 0
var _use_thread := false


func _watched(engine: EngineNode) -> EngineNode:
	engine.engine_ready.connect(func() -> void: _n_ready += 1)
	engine.engine_stopped.connect(func() -> void: _n_stopped += 1)
	engine.engine_failed.connect(
		func(code: String, message: String, help: String) -> void:
			_failed.append([code, message, help])
	)
	return engine


## Starts, and waits for the signal that says why there is no engine; returns its code.
func _failure(engine: EngineNode) -> String:
	var waiting := engine.request("ping")
	engine.start()
	check(_failed.is_empty(), "no signal comes before those are connected who want it")
	var queued := engine.request("ping")
	await until(func() -> bool: return not _failed.is_empty(), "engine_failed")
	await answered(waiting)
	await answered(queued)
	await answered(engine.request("ping"))
	check(waiting.error.code == "not_started", str(waiting.error))
	if _failed.is_empty():
		return ""
	equal(queued.error.code, _failed[0][0], "what waited ends with the same error")
	check(not _failed[0][1].is_empty() and not _failed[0][2].is_empty(), "it says what to do")
	return _failed[0][0]


static func free_port() -> int:
	var server := TCPServer.new()
	server.listen(0, "127.0.0.1")
	var port := server.get_local_port()
	server.stop()
	return port


func _serve(port: int, more: PackedStringArray = []) -> int:
	var arguments := PackedStringArray(["serve", "--model", model_path("tiny/tiny-llama.gguf")])
	arguments.append_array(["--bind", "tcp://127.0.0.1:%d" % port, "--window", "512"])
	arguments.append_array(["--threads", "1", "--saves", fresh_folder(), "--log-level", "warning"])
	return spawn_process(setting("NPC_EXECUTABLE"), arguments + more)


func _client_of(port: int) -> EngineNode:
	var engine := _watched(make_engine())
	engine.endpoint = "tcp://127.0.0.1:%d" % port
	engine.use_thread = _use_thread
	return engine


static func _write(path: String, text: String) -> void:
	var file := FileAccess.open(path, FileAccess.WRITE)
	file.store_string(text)
	file.close()


func _fake_program(more := "") -> String:
	return FakeServer.make(fresh_folder(), setting("NPC_PYTHON"), more)


## The settings of a project that has nothing but the addon.
func bare_project() -> String:
	return (
		'config_version=5\n[application]\nconfig/name="Bare"\n'
		+ '[autoload]\nNPCEngine="*res://addons/npc_engine/npc_engine.gd"\n'
		+ '[editor_plugins]\nenabled=PackedStringArray("res://addons/npc_engine/plugin.cfg")\n'
	)
