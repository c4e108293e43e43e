extends "engine_link.gd"
## The autoload [code]NPCEngine[/code]: what a game asks of the engine as a whole.
##
## It starts the engine with the game and ends it with it (see Project Settings > NPC Engine).
## Single characters are [NPCCharacter] nodes; this has what concerns several of them.
## [codeblock]
## NPCEngine.engine_failed.connect(func(_code, message, help): print(message, " ", help))
## await NPCEngine.save_slot("autosave")
## [/codeblock]

## For [NPCCharacter]: the engine knows what it holds; now is the time to spawn.
signal characters_wanted

## The slot that characters come back from when they are spawned: set by [method save_slot] and
## [method load_slot]. Set it yourself before a saved game's first scene; empty for a new game.
var restore_slot := ""

## Whether characters that come back keep the cards they were saved with. Otherwise the cards of
## their nodes count: a persona that has changed since is read again, and the talk behind it kept.
var keep_saved_cards := false

var _present: Dictionary[String, bool] = {}
var _ours: Dictionary[String, bool] = {}
var _coming: Dictionary[String, NPCAnswer] = {}
var _unsaved: Dictionary[String, bool] = {}
var _listeners: Dictionary[String, Callable] = {}


func _init() -> void:
	super()
	engine_ready.connect(_note_present)


## Sends a request and waits for its answer.
func ask(type: String, keys := {}) -> NPCAnswer:
	return await request(type, keys).completed()


## Saves the characters into a slot, in the place of what it held; the answer's
## [member NPCAnswer.reply] has [code]npcs[/code], [code]n_bytes[/code] and [code]ms[/code]. Without
## [param npcs] that is everybody but those whose [member NPCCharacter.save_with_game] is off.
## A name has 1-64 of [code]A-Z a-z 0-9 _ . -[/code], no dot first. With [param journal], what they
## do from then on is written to the slot as well, as it happens: a crash costs no more than a line.
func save_slot(slot: String, npcs: PackedStringArray = [], journal := false) -> NPCAnswer:
	var keys := {"slot": slot}
	if journal:
		keys["mode"] = "journal"
	if not npcs.is_empty():
		keys["npcs"] = npcs
	elif not _unsaved.is_empty():
		keys["npcs"] = _present.keys().filter(func(npc: String) -> bool: return npc not in _unsaved)
	var answer := await ask("save", keys)
	if answer.ok:
		restore_slot = slot
	return answer


## Brings the characters of a slot back, in the place of what they are now; what they were saying
## ends. Without [param npcs] that is everybody whom the slot holds; others stay as they are.
func load_slot(slot: String, npcs: PackedStringArray = []) -> NPCAnswer:
	var keys := {"slot": slot}
	if not npcs.is_empty():
		keys["npcs"] = npcs
	var answer := await ask("load", keys)
	if answer.ok:
		restore_slot = slot
		var loaded: Variant = answer.reply.get("npcs")
		for entry: Variant in loaded if loaded is Array else []:
			if entry is Dictionary:
				_note_spawned(NPCAnswer.text_of(entry, "npc"))
	return answer


## Lets characters perceive something that nobody answers ("The bell tolls."). Without
## [param npcs] all of them do. [param importance], 0 to 1, says how long it is remembered; after
## [param expires_s] seconds it no longer matters, unless that is negative.
func perceive(
	event: String, npcs: PackedStringArray = [], importance := 0.5, expires_s := -1.0
) -> NPCAnswer:
	var keys := {"text": event, "importance": importance}
	keys["npcs"] = "*" if npcs.is_empty() else npcs
	if expires_s >= 0.0:
		keys["expires_s"] = expires_s
	return await ask("event", keys)


## Lets 2 to 16 characters talk with each other, [param about] something ("the missing bread").
## [param scene_name] is for [method join] and [method leave]. The player comes first, and joins by
## speaking to one of them. [param options] may have [code]turns[/code] (1 to 64),
## [code]first[/code] (who begins), [code]priority[/code], [code]max_tokens[/code] and
## [code]stream[/code] of the protocol.
func scene(scene_name: String, npcs: PackedStringArray, about := "", options := {}) -> NPCScene:
	var played := NPCScene.new()
	played.on_record = _heed_scene
	played.on_request = request
	var keys := {"scene": scene_name, "npcs": npcs, "about": about}
	keys.merge(options)
	request("scene", keys, played)
	return played


## Lets one more character take part in a scene.
func join(scene_name: String, npc: String) -> NPCAnswer:
	return await ask("join", {"scene": scene_name, "npc": npc})


## Lets a character leave a scene. With fewer than two left it ends.
func leave(scene_name: String, npc: String) -> NPCAnswer:
	return await ask("leave", {"scene": scene_name, "npc": npc})


## Lists all characters: [code]npcs[/code] in the [member NPCAnswer.reply].
func list_characters() -> NPCAnswer:
	return await ask("list")


## The engine's counters: [code]stats[/code] in the [member NPCAnswer.reply]. For developers.
func stats() -> NPCAnswer:
	return await ask("stats")


## Answers when the engine does.
func ping() -> NPCAnswer:
	return await ask("ping")


## Forgets all characters and the slot they would come back from; those in the scene begin anew.
func new_game() -> void:
	restore_slot = ""
	for npc: String in _present.keys() + _coming.keys():
		request("despawn", {"npc": npc})
		_forget(npc)
	if is_engine_ready():
		characters_wanted.emit()


## For [NPCCharacter]: brings a character to life unless this game has done so already. What a
## former run of the game has left in a running engine is replaced. The answer may be finished.
func bring(npc: String, keys: Dictionary, with_save: bool) -> NPCAnswer:
	if _coming.has(npc):
		return _coming[npc]
	var coming := NPCAnswer.new()
	if _present.has(npc) and _ours.has(npc):
		coming.finish({"type": "spawned", "npc": npc, "restored": true})
		return coming
	_coming[npc] = coming
	_bring(coming, keys.merged({"npc": npc}), with_save)
	return coming


## For [NPCCharacter]: takes a character out of the engine.
func dismiss(npc: String) -> NPCAnswer:
	_forget(npc)
	var answer := await ask("despawn", {"npc": npc})
	_forget(npc)  # it may have been on its way
	return answer


## For [NPCCharacter]: `on_record`, a method of the node, gets what it says in scenes. Returns false
## if there is another node of that name, unless that is about to be freed.
func add_character(npc: String, is_saved: bool, on_record: Callable) -> bool:
	var other: Callable = _listeners.get(npc, Callable())
	if other.is_valid() and not (other.get_object() as Node).is_queued_for_deletion():
		return false
	_listeners[npc] = on_record
	_unsaved.erase(npc)
	if not is_saved:
		_unsaved[npc] = true
	return true


## For [NPCCharacter]: the node is gone, the character stays.
func remove_character(npc: String, on_record: Callable) -> void:
	if _listeners.get(npc, Callable()) == on_record:
		_listeners.erase(npc)


func _bring(coming: NPCAnswer, keys: Dictionary, with_save: bool) -> void:
	var npc: String = keys["npc"]
	if _present.has(npc):
		request("despawn", {"npc": npc})
	var answer := await _spawn(keys, with_save)
	if answer.ok:
		_note_spawned(npc)
	if _coming.get(npc) == coming:
		_coming.erase(npc)
	coming.finish(answer.reply, answer.error)


func _spawn(keys: Dictionary, with_save: bool) -> NPCAnswer:
	if not with_save or restore_slot.is_empty():
		return await ask("spawn", keys)
	var how := {"restore": restore_slot}
	if keep_saved_cards:
		how["restore_card"] = "saved"
	var answer := await ask("spawn", keys.merged(how))
	if answer.error == null or not answer.error.code in ["unknown_slot", "bad_snapshot"]:
		return answer
	push_warning("NPCEngine: '%s' begins anew: %s" % [keys["npc"], answer.error])
	return await ask("spawn", keys)


func _note_present() -> void:
	_present.clear()
	var there: Variant = welcome.get("npcs")
	for npc: Variant in there if there is Array else []:
		if npc is String:
			_present[npc] = true
	characters_wanted.emit()


func _forget(npc: String) -> void:
	_present.erase(npc)
	_ours.erase(npc)
	_coming.erase(npc)


func _note_spawned(npc: String) -> void:
	_present[npc] = true
	_ours[npc] = true


func _heed_scene(npc: String, record: Dictionary) -> void:
	var listener: Callable = _listeners.get(npc, Callable())
	if listener.is_valid():
		listener.call(record)
