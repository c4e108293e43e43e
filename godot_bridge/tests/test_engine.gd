# gdlint: disable=max-public-methods
extends "res://tests/case.gd"
## Finding, starting, losing and ending an engine. Each ends in a signal, and nothing hangs.

const FakeServer := preload("res://tests/fake_program.gd")
const N_ROUNDS := 20
const TOKEN := "a token of the tests"

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


func test_it_starts_an_engine_and_ends_it() -> void:
	var engine := _watched(make_engine())
	var early := engine.request("ping")
	engine.start()
	var queued := engine.request("list")
	await answered(early)
	equal(early.error.code, "not_started")
	await until(engine.is_engine_ready, "ready")
	await answered(queued)
	equal(queued.reply.get("npcs"), [], "what was asked before it was ready is answered")
	equal(engine.welcome["model"]["arch"], "llama")
	check(engine.engine_log().size() > 0, "it has a log")
	var pid := engine.engine_pid
	check(lives(pid), "it runs")
	engine.stop()
	equal([_n_ready, _n_stopped, _failed.size()], [1, 1, 0], "signals")
	await until(func() -> bool: return not lives(pid), "it leaves", 3.0)
	await answered(engine.request("ping"))


func test_executable_missing() -> void:
	var engine := _watched(make_engine())
	engine.executable = "/nowhere/npc-engine"
	equal(await _failure(engine), "executable_not_found")


func test_model_missing() -> void:
	var engine := _watched(make_engine())
	engine.model = "/nowhere/q4.gguf"
	equal(await _failure(engine), "model_not_found")


func test_no_model_but_a_file() -> void:
	var engine := _watched(make_engine())
	engine.model = ProjectSettings.globalize_path("res://project.godot")
	equal(await _failure(engine), "engine_exited")
	check(_failed[0][1].contains("project.godot"), "the engine's own words: %s" % _failed[0][1])


func test_a_program_that_is_no_engine() -> void:
	var engine := _watched(make_engine())
	engine.executable = "true"
	equal(await _failure(engine), "engine_exited")


func test_a_file_that_cannot_be_run() -> void:
	var engine := _watched(make_engine())
	engine.executable = ProjectSettings.globalize_path("res://project.godot")
	equal(await _failure(engine), "engine_exited")
	check(_failed[0][2].contains("npc_engine/executable"), str(_failed[0]))


func test_port_taken() -> void:
	var server := TCPServer.new()
	server.listen(0, "127.0.0.1")
	var engine := _watched(make_engine())
	engine.arguments += PackedStringArray(
		["--bind", "tcp://127.0.0.1:%d" % server.get_local_port()]
	)
	equal(await _failure(engine), "engine_exited")
	check(_failed[0][1].contains(str(server.get_local_port())), _failed[0][1])


func test_an_endpoint_that_is_none() -> void:
	var engine := _watched(make_engine())
	engine.endpoint = "127.0.0.1:5757"
	equal(await _failure(engine), "bad_endpoint")


func test_server_absent_and_then_there() -> void:
	var port := free_port()
	var engine := _client_of(port)
	engine.patience_s = 0.5
	equal(await _failure(engine), "unreachable")
	var character := make_character(engine, "mara")
	var reply := character.say("Hello?")
	await answered(reply)
	equal(reply.error.code, "unreachable", "nothing waits for what may never come")
	_serve(port)
	await until(engine.is_engine_ready, "it finds the engine that came later")
	await until(func() -> bool: return character.is_spawned, "its characters come to life")
	equal(_failed.size(), 1, "an outage is told once")


func test_something_else_listens_there() -> void:
	var server := TCPServer.new()
	server.listen(0, "127.0.0.1")
	var engine := _client_of(server.get_local_port())
	engine.patience_s = 0.2
	var answer := func() -> bool:
		if server.is_connection_available():
			var peer := server.take_connection()
			peer.put_data("SSH-2.0-OpenSSH_9.2\r\n".to_ascii_buffer())
		return not _failed.is_empty()
	engine.start()
	await until(answer, "engine_failed")
	check(_failed[0][1].contains("ZeroMQ"), str(_failed))


func test_wrong_and_right_token() -> void:
	var port := free_port()
	_serve(port, ["--token", TOKEN])
	var engine := _client_of(port)
	engine.patience_s = 20.0
	engine.token = "another"
	equal(await _failure(engine), "unauthorized")
	engine.token = TOKEN
	await started(engine)


func test_what_another_run_left_is_replaced_and_our_own_is_kept() -> void:
	var port := free_port()
	_serve(port)
	var former := _client_of(port)
	await started(former)
	var left := make_character(former, "mara")
	await answered(left.say("Remember the number nine."))
	left.free()
	var again := make_character(former, "mara")
	await until(func() -> bool: return again.is_spawned, "it is there")
	var kept: NPCAnswer = await settled(again.window_contents)
	check(kept.reply["turn"] >= 2, "a scene that is entered again: %s" % kept.reply.get("turn"))
	former.free()
	var engine := _client_of(port)
	await started(engine)
	var fresh := make_character(engine, "mara")
	await until(func() -> bool: return fresh.is_spawned, "it is there")
	var contents: NPCAnswer = await settled(fresh.window_contents)
	equal(contents.reply["turn"], 1, "a game that is started again")


func test_killed_in_mid_line_and_started_again() -> void:
	var engine := _watched(make_engine())
	engine.arguments += PackedStringArray(["--max-tokens", "4096", "--window", "2048"])
	await started(engine)
	var character := make_character(engine, "mara")
	character.max_tokens = 4000
	character.stream_text = true
	await until(func() -> bool: return character.is_spawned, "it is there")
	var saved: NPCAnswer = await settled(engine.save_slot.bind("before"))
	check(saved.ok, str(saved.error))
	var errors: Array[NPCError] = []
	character.reply_failed.connect(errors.append)
	var texts: PackedStringArray = []
	character.text_streamed.connect(func(text: String) -> void: texts.append(text))
	var reply := character.say("Tell me everything.")
	await until(func() -> bool: return texts.size() > 3, "it speaks")
	var pid := engine.engine_pid
	kill(pid)
	await answered(reply)
	equal([errors.size(), reply.error.code], [1, "connection_lost"], "reply_failed")
	var meanwhile := character.say("Still there?")
	character.max_tokens = 8
	await until(func() -> bool: return _n_ready == 2, "it is started again")
	equal([_n_stopped, _failed.size()], [1, 0], "signals")
	check(engine.engine_pid != pid, "another process")
	await until(func() -> bool: return character.is_spawned, "it lives again")
	character.interrupt()
	await answered(meanwhile)
	check(meanwhile.ok, "what was said meanwhile waits for it: %s" % meanwhile.error)


func test_the_same_with_a_thread() -> void:
	_use_thread = true
	await test_running_server_killed_in_mid_line_and_back()


func test_running_server_killed_in_mid_line_and_back() -> void:
	var port := free_port()
	var arguments := PackedStringArray(["--max-tokens", "4096"])
	var pid := _serve(port, arguments)
	var engine := _client_of(port)
	await started(engine)
	var character := make_character(engine, "mara")
	character.max_tokens = 4000
	character.stream_text = true
	var started_to_speak: Array[bool] = [false]
	character.line_started.connect(func() -> void: started_to_speak[0] = true)
	var reply := character.say("Tell me everything.")
	await until(func() -> bool: return started_to_speak[0], "it speaks")
	kill(pid)
	await answered(reply)
	equal(reply.error.code, "connection_lost")
	_serve(port, arguments)
	await until(func() -> bool: return _n_ready == 2, "it comes back")
	character.max_tokens = 8
	var again := character.say("Still there?")
	await answered(again)
	check(again.ok, str(again.error))
	equal(_n_stopped, 1)


func test_an_engine_that_keeps_crashing_is_given_up() -> void:
	var engine := _watched(make_engine())
	engine.executable = _fake_program("--crash")
	engine.max_pause_s = 0.1
	engine.start()
	await until(func() -> bool: return not _failed.is_empty(), "engine_failed")
	equal(_failed[0][0], "engine_exited")
	check(_n_ready > 3 and _n_ready == _n_stopped, "%d starts" % _n_ready)


func test_no_orphan_after_rounds_of_start_and_stop() -> void:
	var engine := _watched(make_engine())
	engine.executable = _fake_program()
	var pids: PackedInt32Array = []
	for i in N_ROUNDS:
		engine.start()
		if i % 4 == 3:  # it is stopped before it is ready
			await until(func() -> bool: return engine.engine_pid > 0, "a process")
		else:
			await until(engine.is_engine_ready, "ready")
		pids.append(engine.engine_pid)
		engine.stop()
	equal(_n_stopped, N_ROUNDS)
	for pid in pids:
		await until(func() -> bool: return not lives(pid), "process %d leaves" % pid, 3.5)


func test_a_killed_game_takes_its_engine_along() -> void:
	var note := fresh_folder().path_join("pid")
	OS.set_environment("NPC_NOTE", note)
	var arguments := ["--headless", "--path", ProjectSettings.globalize_path("res://")]
	var game := spawn_process(setting("NPC_GODOT"), arguments + ["--script", "res://tests/game.gd"])
	await until(func() -> bool: return FileAccess.file_exists(note), "the game's engine is ready")
	var pid := FileAccess.get_file_as_string(note).to_int()
	check(lives(pid), "the engine runs")
	kill(game)
	await until(func() -> bool: return not lives(pid), "the engine leaves", 2.0)


func test_a_game_that_blocks_keeps_its_connection() -> void:
	var engine := _watched(make_engine())
	engine.executable = _fake_program()
	await started(engine)
	var character := make_character(engine, "mara")
	var reply := character.say("50 for 4")
	await until(func() -> bool: return character.is_spawned, "it is there")
	OS.delay_msec(5000)
	await answered(reply)
	check(reply.ok, str(reply.error))
	equal(reply.lines.size(), 40, "no line is lost")
	equal(_n_stopped, 0)


func test_a_thread_keeps_what_a_busy_game_would_lose() -> void:
	for use_thread: bool in [false, true]:
		_n_stopped = 0
		var engine := _watched(make_engine())
		engine.use_thread = use_thread
		engine.executable = _fake_program("--impatient")
		await started(engine)
		await pass_seconds(0.6)
		OS.delay_msec(2500)
		await pass_seconds(0.2)
		equal(_n_stopped, 0 if use_thread else 1)
		await until(engine.is_engine_ready, "ready, again")
		check((await settled(engine.ping)).ok, "it is served")
		engine.free()


func test_an_engine_that_hangs() -> void:
	var port := free_port()
	var pid := _serve(port)
	var engine := _client_of(port)
	await started(engine)
	engine._client.silence_s = 0.3
	engine._client.ping_s = 0.5
	engine._client.greeting_s = 0.5
	engine.patience_s = 0.8
	OS.execute("kill", ["-STOP", str(pid)])
	var answer := engine.request("ping")
	await answered(answer)
	equal(answer.error.code, "timeout")
	await until(func() -> bool: return not _failed.is_empty(), "engine_failed")
	equal(_failed[0][0], "timeout")
	OS.execute("kill", ["-CONT", str(pid)])
	engine._client.greeting_s = 10.0
	await until(engine.is_engine_ready, "it is found again")


func test_many_requests_at_once() -> void:
	var engine := make_engine()
	await started(engine)
	var answers: Array[NPCAnswer] = []
	for _i in 500:
		answers.append(engine.request("ping"))
	for answer in answers:
		await answered(answer)
		check(answer.ok, str(answer.error))


func test_a_request_that_is_no_message() -> void:
	var engine := make_engine()
	await started(engine)
	var wrong := engine.request("event", {"npcs": "*", "text": Vector2.ONE})
	check(not wrong.is_finished, "it is not finished before the call returns")
	await answered(wrong)
	equal(wrong.error.code, "bad_message")
	var unknown: NPCAnswer = await settled(engine.ask.bind("no such request"))
	equal(unknown.error.code, "bad_message")


func _fake_program(more := "") -> String:
	return FakeServer.make(fresh_folder(), setting("NPC_PYTHON"), more)
