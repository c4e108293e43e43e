extends "res://tests/engine_case.gd"
## Finding, starting and ending an engine. Each ends in a signal, and nothing hangs.

const TOKEN := "a token of the tests"


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


func test_a_game_that_starts_again_when_told_of_a_failure() -> void:
	var engine := _watched(make_engine())
	var right := engine.executable
	engine.executable = "/nowhere/npc-engine"
	engine.engine_failed.connect(
		func(_code: String, _message: String, _help: String) -> void:
			if _failed.size() == 3:
				engine.executable = right
			engine.start()
	)
	engine.start()
	await until(engine.is_engine_ready, "ready")
	equal(_failed.size(), 3)


func test_a_game_that_acts_inside_of_signals() -> void:
	var engine := _watched(make_engine())
	engine.executable = _fake_program()
	await started(engine)
	var mara := make_character(engine, "mara", "Talks.", {"stream_text": true})
	var bram := make_character(engine, "bram")
	var replies: Array[NPCReply] = [mara.say("50 for 0.2")]
	mara.reply_finished.connect(
		func(_reply: NPCReply) -> void: replies.append(mara.say("1000 for 10"))
	)
	mara.text_streamed.connect(
		func(_text: String) -> void:
			if replies.size() == 2:
				bram.free.call_deferred()
				engine.stop()
				replies.append(mara.say("50 for 0.2"))
	)
	await until(func() -> bool: return replies.size() == 3, "it is stopped in the middle")
	for reply in replies:
		await answered(reply)
	equal(
		[replies[0].ok, replies[1].error.code, replies[2].error.code], [true, "stopped", "stopped"]
	)
	equal([_n_ready, _n_stopped, _failed.size()], [1, 1, 0])
	await started(engine)
	await until(func() -> bool: return mara.is_spawned, "it lives again")


func test_nothing_is_started_in_the_editor() -> void:
	var project := fresh_folder()
	var trace := project.path_join("started")
	_write(project.path_join("npc-engine"), "#!/bin/sh\ntouch '%s'\n" % trace)
	FileAccess.set_unix_permissions(project.path_join("npc-engine"), 0x1ED)
	OS.execute("cp", ["-r", ProjectSettings.globalize_path("res://addons"), project])
	var settings := bare_project()
	settings += '[npc_engine]\nmodel="%s"\n' % model_path("tiny/tiny-llama.gguf")
	settings += 'executable="%s"\n' % project.path_join("npc-engine")
	_write(project.path_join("project.godot"), settings)
	var common := ["--headless", "--path", project, "--quit-after", "50"]
	var editor := spawn_process(setting("NPC_GODOT"), common + ["--editor"])
	await until(func() -> bool: return not lives(editor), "the editor has been there")
	check(not FileAccess.file_exists(trace), "the editor starts an engine")
	_write(project.path_join("main.tscn"), '[gd_scene format=3]\n[node name="Main" type="Node"]\n')
	var game := spawn_process(setting("NPC_GODOT"), common + ["main.tscn"])
	await until(func() -> bool: return not lives(game), "the game has been there")
	check(FileAccess.file_exists(trace), "the game starts one")


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
