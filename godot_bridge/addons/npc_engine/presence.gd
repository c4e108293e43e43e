@tool
extends RefCounted
## Whether a character lives in the engine, and what waits until it does.
##
## It brings the character to life whenever the engine is ready, again after each reconnection.
## [br]Rule 1: What is asked of a character that may come to life waits, in order.
## [br]Rule 2: When there is no hope for that, it ends with the reason.
## [br]Rule 3: What is open when the node leaves ends then: nobody waits for a node that is gone.

## The character lives in the engine.
signal spawned(answer: NPCAnswer)
## The character could not be brought to life.
signal failed(error: NPCError)

const EngineNode := preload("npc_engine.gd")

## Errors after which the next connection tries again.
const _PASSING: PackedStringArray = ["connection_lost", "timeout", "stopped", "bad_reply"]

## Whether it lives in the engine.
var is_spawned := false
## Why it does not; null while that may come.
var error: NPCError
## The name that the engine knows it by.
var npc := ""

var _engine: EngineNode
var _keys := Callable()
var _on_scene := Callable()
var _is_saved := true
var _is_dismissed := false
var _held: Array[NPCAnswer] = []
var _open: Array[NPCAnswer] = []
var _awaited: NPCAnswer


## Begins. `keys` returns the map of a spawn request, or null and leaves the reason in
## [member error]; `on_scene` gets the records of scenes.
func enter(engine: EngineNode, is_saved: bool, keys: Callable, on_scene: Callable) -> void:
	_engine = engine
	_keys = keys
	_is_saved = is_saved
	_on_scene = on_scene
	_join()


## Ends: the node has left the scene, the character stays in the engine.
func exit() -> void:
	if _engine != null and _engine.characters_wanted.is_connected(_try):
		_engine.characters_wanted.disconnect(_try)
		_engine.engine_stopped.disconnect(_on_engine_stopped)
		_engine.engine_failed.disconnect(_on_engine_failed)
		_engine.remove_character(npc, _on_scene)
	_lose()
	_held.clear()
	_awaited = null
	_engine = null
	var why := NPCError.make("stopped", "'%s' has left the scene." % npc, "Ask it before that.")
	for answer: NPCAnswer in _open.duplicate():
		answer.finish({}, why)


## Asks the engine, or waits with that until the character lives there.
func request(type: String, keys: Dictionary, answer: NPCAnswer) -> NPCAnswer:
	answer.request = {"type": type}
	answer.request.merge(keys)
	_open.append(answer)
	answer.finished.connect(_open.erase, CONNECT_ONE_SHOT)
	if error != null:
		answer.fail_later(error)
	elif _engine == null:
		var why := "'%s' is in no scene." % npc
		answer.fail_later(NPCError.make("stopped", why, "Add the node to the tree."))
	elif is_spawned or not _engine.is_hopeful():
		_engine.request(type, keys, answer)
	else:
		_held.append(answer)
	return answer


## Brings it to life after [method dismiss], or when the reason for a failure is mended.
func summon() -> void:
	_is_dismissed = false
	error = null
	if _engine == null or is_spawned:
		return
	if not _engine.characters_wanted.is_connected(_try):
		_join()
	elif _engine.is_engine_ready():
		_try()


## Takes it out of the engine, until [method summon].
func dismiss() -> NPCAnswer:
	_awaited = null
	_is_dismissed = true
	_lose()
	_fail_held(error)
	if _engine == null:
		return await request("despawn", {"npc": npc}, NPCAnswer.new()).completed()
	return await _engine.dismiss(npc)


## Notes why it cannot come to life.
func fail(why: NPCError) -> void:
	error = why
	push_warning("NPCEngine: '%s' is not there: %s" % [npc, why])
	_fail_held(why)
	failed.emit(why)


func _join() -> void:
	if not _engine.add_character(npc, _is_saved, _on_scene):
		var why := "Another node is the character '%s' already." % npc
		fail(NPCError.make("npc_exists", why, "Give each NPCCharacter its own npc."))
		return
	_engine.characters_wanted.connect(_try)
	_engine.engine_stopped.connect(_on_engine_stopped)
	_engine.engine_failed.connect(_on_engine_failed)
	if _engine.is_engine_ready():
		_try()


func _try() -> void:
	if _is_dismissed:
		return
	_lose()
	var keys: Variant = _keys.call()
	if keys == null:
		fail(error)
		return
	var answer := _engine.bring(npc, keys, _is_saved)
	_awaited = answer
	if answer.is_finished:
		_heed_answer(answer)
	elif not answer.finished.is_connected(_heed_answer):  # the node was here a moment ago
		answer.finished.connect(_heed_answer)


func _heed_answer(answer: NPCAnswer) -> void:
	if answer != _awaited:
		return
	_awaited = null
	if answer.ok:
		_be_spawned(answer)
	elif not answer.error.code in _PASSING:
		fail(answer.error)


func _be_spawned(answer: NPCAnswer) -> void:
	is_spawned = true
	var notice := NPCAnswer.text_of(answer.reply, "notice")
	if not notice.is_empty():
		push_warning("NPCEngine: '%s': %s" % [npc, notice])
	var waiting := _held
	_held = []
	for held: NPCAnswer in waiting:
		_engine.request(held.request["type"], held.request, held)
	spawned.emit(answer)


func _lose() -> void:
	is_spawned = false
	error = null
	if _is_dismissed:
		var why := "'%s' was taken out of the engine." % npc
		error = NPCError.make("unknown_npc", why, "Call spawn() first.")


func _on_engine_stopped() -> void:
	_lose()
	if not _engine.is_hopeful():
		_fail_held(_engine.error)


func _on_engine_failed(_code: String, _message: String, _help: String) -> void:
	_fail_held(_engine.error)


func _fail_held(why: NPCError) -> void:
	var waiting := _held
	_held = []
	for answer: NPCAnswer in waiting:
		answer.finish({}, why)
