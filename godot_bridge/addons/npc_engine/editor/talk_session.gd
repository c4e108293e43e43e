@tool
extends RefCounted
## One talk in the editor, where no game runs: an engine, a character in it, what is said.
##
## It knows no control. The engine is the one at [code]npc_engine/endpoint[/code], else one of its
## own, which it keeps from talk to talk until [method close].
## [br][br]
## Rule 1: Every [method begin] ends in [signal begun] or in [signal failed].
## [br]Rule 2: The scene and the game are left alone: what is spawned is a copy, under a name of its
## own, and the saves go into a folder of their own.

## The character is there. [param greeting] is the first message of its card, or empty.
signal begun(greeting: String)
## It has said a sentence.
signal line_spoken(line: String)
## It makes a gesture.
signal gesture(text: String)
## It has said all of it.
signal reply_finished(reply: NPCReply)
## There is no talk, or it is over, and why.
signal failed(error: NPCError)

## How far it is. ALONE is an engine with nobody in it.
enum State { IDLE, STARTING, CONNECTING, ALONE, SPAWNING, READY }

const Client := preload("../client.gd")
const Settings := preload("../settings.gd")
const Sidecar := preload("../sidecar.gd")

## Seconds that the engine gets to load its model.
const START_S := 120.0

const _PREFIX := "editor-"
const _SETTINGS: PackedStringArray = ["endpoint", "token", "executable", "model", "arguments"]

## How far it is.
var state := State.IDLE
## The process id of an engine of its own, 0 if there is none.
var engine_pid: int:
	get:
		return _sidecar.pid if _sidecar != null else 0

var _client := Client.new()
var _sidecar: Sidecar
var _leaving: Array[Sidecar] = []
var _settings := {}
var _npc := ""
var _keys := {}
var _max_tokens := 0
var _there := ""
var _reply: NPCReply
var _turn := 0


## Begins a talk with the character as it is now in the scene; one that goes on ends. `source` is an
## [NPCCharacter], or the editor's stand-in for a script that extends it.
func begin(source: Node) -> void:
	_turn += 1
	_reply = null
	_use_settings()
	var twin := _twin_of(source)
	var keys: Variant = twin.spawn_keys()
	var why := twin.spawn_error
	_npc = (_PREFIX + twin.engine_name()).left(64)
	_max_tokens = twin.max_tokens
	twin.free()
	_keys = keys if keys != null else {}
	if state > State.CONNECTING:
		_spawn()
	if keys == null:
		failed.emit(why)
	elif state == State.IDLE:
		_find_engine()


## Says something; what it is saying itself is cut short. Nothing happens unless it is READY.
func say(text: String) -> void:
	if state != State.READY:
		return
	if is_speaking():
		_request("cancel", {"target": _reply.id})
	_turn += 1
	_reply = NPCReply.new()
	_reply.line_spoken.connect(_on_line.bind(_turn))
	_reply.gesture.connect(_on_gesture.bind(_turn))
	_reply.finished.connect(_on_reply_finished.bind(_turn))
	var keys := {"npc": _npc, "text": text}
	if _max_tokens > 0:
		keys["max_tokens"] = _max_tokens
	_request("say", keys, _reply)


## Whether the character has not ended its reply.
func is_speaking() -> bool:
	return _reply != null and not _reply.is_finished


## Ends the talk, and the engine if it is its own.
func close() -> void:
	_turn += 1
	_reply = null
	if not _there.is_empty() and _client.state == Client.State.READY:
		_request("despawn", {"npc": _there})
	_drop(NPCError.make("stopped", "The talk was ended.", "Press Talk for another."))


## What it waits for, in words; empty if for nothing.
func status() -> String:
	match state:
		State.STARTING:
			var log_lines := _sidecar.log_lines
			return log_lines[-1] if not log_lines.is_empty() else "The engine starts ..."
		State.CONNECTING:
			return "Connecting ..."
		State.SPAWNING:
			return "The engine reads who it is ..."
	return "It answers ..." if is_speaking() else ""


## Does what can be done in `usec` microseconds.
func poll(usec: int) -> void:
	for sidecar: Sidecar in _leaving.duplicate():
		sidecar.poll()
		if sidecar.state == Sidecar.State.ENDED:
			_leaving.erase(sidecar)
	if _sidecar != null:
		_sidecar.poll()
	if state == State.STARTING:
		_look_for_ready_line()
	elif state != State.IDLE:
		_client.poll(usec)
		_look_at_client()


## Whether there is nothing to poll for.
func is_idle() -> bool:
	return state == State.IDLE and _leaving.is_empty()


## An engine that runs with other settings than those of the project is not the one to talk with.
func _use_settings() -> void:
	var wanted := {}
	for setting in _SETTINGS:
		wanted[setting] = Settings.read(setting)
	if wanted != _settings:
		close()
	_settings = wanted


func _find_engine() -> void:
	if not str(_settings["endpoint"]).is_empty():
		_connect_to(_settings["endpoint"], _settings["token"])
		return
	var saves := "npc_engine_editor_%d" % OS.get_process_id()
	var arguments: PackedStringArray = _settings["arguments"].duplicate()
	arguments.append_array(["--saves", OS.get_temp_dir().path_join(saves)])
	var sidecar := Sidecar.new()
	var why := sidecar.start(_settings["executable"], _settings["model"], arguments)
	if why != null:
		failed.emit(why)
		return
	_sidecar = sidecar
	state = State.STARTING


func _connect_to(where: String, shown: String) -> void:
	state = State.CONNECTING
	_client.open(where, shown, "godot editor")


func _look_for_ready_line() -> void:
	if _sidecar.state == Sidecar.State.READY:
		_connect_to(_sidecar.endpoint, _sidecar.token)
		return
	var why := _sidecar.failure(START_S)
	if why != null:
		_fail(why)


func _look_at_client() -> void:
	if _client.state == Client.State.CLOSED and state != State.IDLE:
		_fail(_why_lost())
	elif _client.state == Client.State.READY and state == State.CONNECTING:
		_spawn()


func _why_lost() -> NPCError:
	var why := _client.error
	if _sidecar == null:
		return why
	var message := ("%s %s" % [why.message, _sidecar.last_words()]).strip_edges()
	return NPCError.make(why.code, message, "Press Start over for another engine.")


func _spawn() -> void:
	state = State.ALONE
	if not _there.is_empty() and _there != _npc:
		_request("despawn", {"npc": _there})
	_request("despawn", {"npc": _npc})  # an editor that crashed may have left it
	_there = ""
	if _keys.is_empty():
		return
	state = State.SPAWNING
	_there = _npc
	var answer := _request("spawn", _keys.merged({"npc": _npc}))
	answer.finished.connect(_on_spawned.bind(_turn))


func _on_spawned(answer: NPCAnswer, turn: int) -> void:
	if turn != _turn:
		return
	if answer.ok:
		state = State.READY
		begun.emit(NPCAnswer.text_of(answer.reply, "greeting"))
	elif _client.state == Client.State.READY:  # else the end of the connection is what is told
		_there = ""
		state = State.ALONE
		failed.emit(answer.error)


func _on_line(line: String, turn: int) -> void:
	if turn == _turn:
		line_spoken.emit(line)


func _on_gesture(text: String, turn: int) -> void:
	if turn == _turn:
		gesture.emit(text)


func _on_reply_finished(answer: NPCAnswer, turn: int) -> void:
	if turn != _turn:
		return
	if answer.ok:
		reply_finished.emit(answer)
	elif _client.state == Client.State.READY:
		failed.emit(answer.error)


func _request(type: String, keys: Dictionary, answer := NPCAnswer.new()) -> NPCAnswer:
	answer.request = {"type": type}
	answer.request.merge(keys)
	_client.post(answer)
	return answer


func _fail(why: NPCError) -> void:
	_drop(why)
	failed.emit(why)


func _drop(why: NPCError) -> void:
	_client.close(why)
	if _sidecar != null:
		_sidecar.stop()
		_leaving.append(_sidecar)
		_sidecar = null
	_there = ""
	state = State.IDLE


## A character with the same properties, whatever the script of `source` is: in the editor a script
## without [code]@tool[/code] has properties, and does nothing.
static func _twin_of(source: Node) -> NPCCharacter:
	var twin := NPCCharacter.new()
	for property in twin.get_property_list():
		var is_own: bool = property["usage"] & PROPERTY_USAGE_SCRIPT_VARIABLE != 0
		var value: Variant = source.get(property["name"]) if is_own else null
		if property["usage"] & PROPERTY_USAGE_STORAGE and value != null:
			twin.set(property["name"], value)
	twin.name = source.name
	return twin
