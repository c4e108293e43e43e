extends "res://tests/engine_case.gd"
## Engines that die, hang, or come late, and games that do.

const N_ROUNDS := 20


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
