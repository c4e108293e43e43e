@tool
class_name NPCAnswer
extends RefCounted
## The engine's answer to one request. It always comes: as a reply, or as an [member error].
##
## [codeblock]
## var saved: NPCAnswer = await NPCEngine.save_slot("autosave")
## if not saved.ok:
##     print(saved.error)
## [/codeblock]

## The answer has come. This is emitted once, and never before the call that made the request has
## returned.
signal finished(answer: NPCAnswer)

## The number of the request.
var id := ""
## What was asked, as it was sent.
var request := {}
## What the engine answered; empty while there is no answer, and after an error.
var reply := {}
## What went wrong, or null.
var error: NPCError
## Whether the answer has come.
var is_finished := false
## Whether the answer has come and is no error.
var ok: bool:
	get:
		return is_finished and error == null


func _init() -> void:
	id = str(get_instance_id())  # unique while anybody can ask for it


## Waits for the answer if it has not come yet, and returns this object: safe at any moment, where
## [code]await answer.finished[/code] would wait for ever for a signal that has been.
func completed() -> NPCAnswer:
	if not is_finished:
		await finished
	return self


## For the addon: takes in what came before the answer. Only replies and scenes have such records.
func take_record(_record: Dictionary) -> void:
	pass


## For the addon: takes in the answer and emits [signal finished].
func finish(new_reply: Dictionary, new_error: NPCError = null) -> void:
	if is_finished:
		return
	reply = new_reply
	error = new_error
	is_finished = true
	finished.emit(self)


## For the addon: ends it with an error as soon as the code that runs now has returned.
func fail_later(new_error: NPCError) -> void:
	var fail := func() -> void: finish({}, new_error)
	fail.call_deferred()


## For the addon: the text at [param key], whatever stands there.
static func text_of(map: Dictionary, key: String, otherwise := "") -> String:
	var value: Variant = map.get(key)
	return value if value is String else otherwise


## For the addon: the whole number at [param key], whatever stands there.
static func int_of(map: Dictionary, key: String, otherwise := 0) -> int:
	var value: Variant = map.get(key)
	return value if value is int else otherwise


## For the addon: the map at [param key], whatever stands there.
static func map_of(map: Dictionary, key: String) -> Dictionary:
	var value: Variant = map.get(key)
	return value if value is Dictionary else {}
