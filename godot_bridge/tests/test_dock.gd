extends "res://tests/engine_case.gd"
## The dock "Talk", outside of the editor: an engine of its own, one that runs, and what goes wrong.

const TalkDock := preload("res://addons/npc_engine/editor/talk_dock.gd")
const Session := preload("res://addons/npc_engine/editor/talk_session.gd")

const WORDS := "The river is high tonight."

var _dock: TalkDock
var _before := {}
var _nodes: Array[Node] = []


func before() -> void:
	_set_up("executable", _fake_program())
	_set_up("model", ProjectSettings.globalize_path("res://project.godot"))
	_dock = TalkDock.new()
	add_child(_dock)


func after() -> void:
	var pid: int = _dock._session.engine_pid if is_instance_valid(_dock) else 0
	super()
	if pid > 0:
		await until(func() -> bool: return not lives(pid), "the dock's engine leaves", 3.0)
	for node in _nodes:
		if is_instance_valid(node):
			node.free()
	for path: String in _before:
		ProjectSettings.set_setting(path, _before[path])


## A setting of the project, for this test.
func _set_up(setting_name: String, value: Variant) -> void:
	var path := "npc_engine/" + setting_name
	if not _before.has(path):
		_before[path] = ProjectSettings.get_setting(path, null)
	ProjectSettings.set_setting(path, value)


## A node of a scene that is open in the editor: nothing of it runs.
func _node(properties := {}) -> NPCCharacter:
	var node := NPCCharacter.new()
	node.name = "Mara"
	node.persona = "Keeps the inn."
	for property: String in properties:
		node.set(property, properties[property])
	_nodes.append(node)
	return node


func _words() -> String:
	return _dock._talk.get_parsed_text()


func _is_ready() -> bool:
	return _dock._session.state == Session.State.READY


func _type(text: String) -> void:
	_dock._entry.text = text
	_dock._entry.text_submitted.emit(text)


func test_a_talk() -> void:
	check(_words().contains("Select an NPCCharacter"), "it says what to do: " + _words())
	check(
		_dock._say.disabled and _dock._stop.disabled and _dock._again.disabled, "nothing to press"
	)
	_dock.talk_with(_node())
	check(
		not _dock._status.text.is_empty() and not _dock._stop.disabled, "it says what it waits for"
	)
	await until(_is_ready, "the character is there")
	_type("  ")
	equal(_words(), "", "nothing is said")
	_type("50 for 0.2")
	equal(_dock._entry.text, "")
	equal(_dock._status.text, "It answers ...")
	await until(func() -> bool: return _words().contains("tokens a second"), "it has answered")
	check(_words().begins_with("You: 50 for 0.2\nMara: %s %s" % [WORDS, WORDS]), _words())
	equal(_words().count("Mara:"), 1, "one reply is one paragraph")
	equal(_dock._status.text, "")
	_dock._stop.pressed.emit()
	check(_words().contains("ended") and not _is_ready(), _words())
	await until(_dock._session.is_idle, "its engine has left", 3.0)


func test_what_a_reply_holds_is_shown_as_it_is() -> void:
	_dock.talk_with(_node())
	_dock._session.begun.emit("*looks up* [b]Evening[/b]")
	_dock._session.line_spoken.emit("[url=x]Sit.[/url]")
	_dock._session.gesture.emit("[i]nods")
	equal(_words(), "Mara: *looks up* [b]Evening[/b]\nMara: [url=x]Sit.[/url] *[i]nods*")


func test_start_over_with_what_the_node_says_now() -> void:
	var node := _node()
	_dock.talk_with(node)
	await until(_is_ready, "the character is there")
	var pid: int = _dock._session.engine_pid
	node.persona = "Rows the ferry."
	_dock._again.pressed.emit()
	check(not _is_ready(), "it begins anew")
	await until(_is_ready, "the character is there again")
	equal(_dock._session.engine_pid, pid, "in the same engine")
	equal(_dock._session._keys["card"]["description"], "Rows the ferry.")
	_dock.talk_with(_node({"card_file": "res://project.godot"}))
	check(_words().contains("'res://project.godot' is no card"), _words())
	check(not _is_ready() and _dock._say.disabled, "there is nobody to talk with")
	_dock.talk_with(node)
	await until(_is_ready, "and back")
	node.free()
	_dock._again.pressed.emit()
	check(_words().contains("'Mara' is no longer open"), _words())


func test_an_engine_that_cannot_be_started() -> void:
	_set_up("executable", "/nowhere/npc-engine")
	_dock.talk_with(_node())
	check(_words().contains("There is no program '/nowhere/npc-engine'."), _words())
	check(_words().contains("npc_engine/executable"), "it says what to do: " + _words())
	check(not _dock.is_processing(), "it takes no time of the editor")
	_set_up("executable", "true")
	_dock._again.pressed.emit()
	await until(func() -> bool: return _words().contains("ended with status"), "the next reason")
	_set_up("executable", _fake_program())
	_dock._again.pressed.emit()
	await until(_is_ready, "mended")


func test_an_engine_that_is_killed() -> void:
	_dock.talk_with(_node())
	await until(_is_ready, "the character is there")
	_type("50 for 20")
	await until(func() -> bool: return _words().contains(WORDS), "it speaks")
	kill(_dock._session.engine_pid)
	await until(func() -> bool: return _words().contains("Press Start over"), "it says so")
	equal(_words().count("No engine at"), 1, "once")
	_dock._again.pressed.emit()
	await until(_is_ready, "another engine")


func test_the_dock_is_closed() -> void:
	_dock.talk_with(_node())
	await until(_is_ready, "the character is there")
	var pid: int = _dock._session.engine_pid
	_dock.free()
	await until(func() -> bool: return not lives(pid), "its engine leaves", 3.0)


## A game that is served by the same engine, and its character of that name, notice nothing.
func test_a_running_engine() -> void:
	var port := free_port()
	_serve(port)
	var engine := _client_of(port)
	await started(engine)
	var mara := make_character(engine, "Mara")
	await answered(mara.say("Remember the number nine."))
	_set_up("endpoint", "tcp://127.0.0.1:%d" % port)
	_dock.talk_with(_node({"max_tokens": 200, "display_name": "Mara"}))
	await until(_is_ready, "the character is there")
	_type("Tell me a story.")
	await until(_dock._session.is_speaking, "it is asked")
	_type("Stop.")
	await until(func() -> bool: return not _dock._session.is_speaking(), "both are answered")
	equal(_words().count("tokens a second"), 1, "what was cut short has no figures")
	equal(await _names(engine), ["Mara", "editor-Mara"])
	_dock._stop.pressed.emit()
	for _i in 100:
		if (await _names(engine)).size() < 2:
			break
	equal(await _names(engine), ["Mara"], "it has left")
	check(mara.is_spawned and engine.is_engine_ready(), "the game goes on")


func test_a_wrong_token() -> void:
	var port := free_port()
	_serve(port, ["--token", "a token of the tests"])
	await started_at(port, "a token of the tests")
	_set_up("endpoint", "tcp://127.0.0.1:%d" % port)
	_set_up("token", "another")
	_dock.talk_with(_node())
	await until(func() -> bool: return _words().contains("token"), "it says so")
	_set_up("token", "a token of the tests")
	_dock._again.pressed.emit()
	await until(_is_ready, "the right one")


func started_at(port: int, token: String) -> void:
	var engine := _client_of(port)
	engine.token = token
	await started(engine)


func _names(engine: EngineNode) -> Array:
	var listed: NPCAnswer = await settled(engine.list_characters)
	var names: Array = listed.reply["npcs"].map(func(row: Dictionary) -> String: return row["npc"])
	names.sort()
	return names
