@tool
@icon("icon.svg")
class_name NPCCharacter
extends Node
## A character that talks: put one into a scene, give it a card or a persona, and [method say].
##
## [codeblock]
## func _on_player_asks(question: String) -> void:
##     var reply: NPCReply = await $Mara.say(question).finished
##     print(reply.text if reply.ok else reply.error)
## [/codeblock]
## What it says comes by its signals line by line; a balloon connects to [signal line_spoken].
## A character outlives its node: when a scene with the same [member npc] is entered again, it
## remembers. [method despawn] ends that, and [method NPCEngine.new_game].

## The character lives in the engine. [param greeting] is the first message of its card, and empty
## when it comes back: show it if you like, the character knows that it said so.
signal spawned(greeting: String)
## The character could not be brought to life.
signal spawn_failed(error: NPCError)
## The character begins to speak: in answer, or as its turn in a scene.
signal line_started
## The character has said a sentence. In scenes, too.
signal line_spoken(line: String)
## The character makes a gesture, such as [code]nods[/code]. In scenes, too.
signal gesture(text: String)
## A piece of what it says as it is decoded. Only with [member stream_text].
signal text_streamed(text: String)
## The character has ended its reply, or it was interrupted.
signal reply_finished(reply: NPCReply)
## There will be no (further) reply: show a canned line.
signal reply_failed(error: NPCError)

## Whose reply is computed first.
enum Priority { PLAYER, NEAR, AMBIENT }

const CardFile := preload("card_file.gd")
const EngineNode := preload("npc_engine.gd")
const Presence := preload("presence.gd")
const Warnings := preload("warnings.gd")

const _PRIORITIES: PackedStringArray = ["player", "near", "ambient"]

## What the engine calls it: 1-64 of [code]A-Z a-z 0-9 _ . -[/code], no dot first. Empty: the name
## of the node.
@export var npc := "":
	set(value):
		npc = value
		update_configuration_warnings()
## A character card: JSON or PNG (Character Card V2 and V3) or TOML. While the plugin is enabled it
## is exported as it is; without it, it is missing from the exported game.
@export_file("*.json", "*.png", "*.toml") var card_file := "":
	set(value):
		card_file = value
		update_configuration_warnings()
## Who it is, in a few sentences: in the place of a card, or added to its description.
@export_multiline var persona := "":
	set(value):
		persona = value
		update_configuration_warnings()
## How it is called in talk. Empty: the card's name, or the name of the node.
@export var display_name := ""

@export_group("Replies")
## Whose reply is computed first. What the player waits for is PLAYER.
@export var priority := Priority.PLAYER
## Most tokens of a reply; 0: as many as the engine allows.
@export_range(0, 4096) var max_tokens := 0
## How words are chosen: [code]temperature[/code], [code]top_k[/code], [code]top_p[/code],
## [code]min_p[/code], [code]repeat_penalty[/code], [code]seed[/code], [code]stop[/code], ...
@export var sampling := {}
## Whether [signal text_streamed] comes: the words as they are decoded, beside the lines.
@export var stream_text := false

@export_group("Memory")
## Tokens that it may hold, persona included; 0: the engine's setting.
@export_range(0, 131072) var window := 0
## Whether [method NPCEngine.save_slot] saves it.
@export var save_with_game := true

## The engine; by default the autoload.
var engine: EngineNode
## What it says or has said last.
var reply: NPCReply
## Whether it lives in the engine.
var is_spawned: bool:
	get:
		return _presence.is_spawned
## Why it does not live in the engine; null while that may come.
var spawn_error: NPCError:
	get:
		return _presence.error

var _presence := Presence.new()
var _speaks_in_scene := false


func _init() -> void:
	_presence.spawned.connect(
		func(answer: NPCAnswer) -> void: spawned.emit(NPCAnswer.text_of(answer.reply, "greeting"))
	)
	_presence.failed.connect(spawn_failed.emit)


func _enter_tree() -> void:
	if Engine.is_editor_hint():
		if not ProjectSettings.settings_changed.is_connected(update_configuration_warnings):
			ProjectSettings.settings_changed.connect(update_configuration_warnings)
		return
	_presence.npc = engine_name()
	if engine == null:
		engine = get_node_or_null("/root/NPCEngine") as EngineNode
	if engine == null:
		var help := "Enable the plugin under Project Settings > Plugins."
		_presence.fail(NPCError.make("no_engine", "The autoload NPCEngine is missing.", help))
	else:
		_presence.enter(engine, save_with_game, spawn_keys, _heed_scene)


func _exit_tree() -> void:
	if Engine.is_editor_hint():
		if ProjectSettings.settings_changed.is_connected(update_configuration_warnings):
			ProjectSettings.settings_changed.disconnect(update_configuration_warnings)
		return
	if reply != null and not reply.is_finished and is_spawned:
		engine.request("cancel", {"target": reply.id})
	_presence.exit()


## Whoever comes back to the editor may have put the missing file in its place.
func _notification(what: int) -> void:
	if what == NOTIFICATION_APPLICATION_FOCUS_IN and Engine.is_editor_hint():
		update_configuration_warnings()


func _get_configuration_warnings() -> PackedStringArray:
	return Warnings.of_character(npc, card_file, persona) + Warnings.of_project()


## Says something to the character; it answers by its signals and in the [NPCReply].
## [param notes] count for this turn alone ("It is raining."). [param speaker] is who says it.
func say(text: String, notes: PackedStringArray = [], speaker := "Player") -> NPCReply:
	var keys := {"text": text, "speaker": speaker, "notes": notes}
	keys["priority"] = _PRIORITIES[priority]
	keys["stream"] = ["line", "gesture", "text"] if stream_text else ["line", "gesture"]
	if max_tokens > 0:
		keys["max_tokens"] = max_tokens
	reply = NPCReply.new()
	reply.started.connect(line_started.emit)
	reply.line_spoken.connect(line_spoken.emit)
	reply.gesture.connect(gesture.emit)
	reply.text_streamed.connect(text_streamed.emit)
	reply.finished.connect(_on_reply_finished)
	_request("say", keys, reply)
	return reply


## The player's line so far, whole, while it is still being typed: the character reads it ahead and
## answers sooner. Call it as often as you like.
func hear(text: String, speaker := "Player") -> NPCAnswer:
	return await _ask("hear", {"text": text, "speaker": speaker})


## The player comes near or looks at it: it gets ready to be spoken to. A hint, never needed.
func attend() -> NPCAnswer:
	return await _ask("attend")


## Something that it perceives and does not answer ("You drew your sword."). It knows of it when it
## next speaks. [param importance] is 0 to 1; after [param expires_s] seconds an unread event no
## longer matters, unless that is negative.
func perceive(event: String, importance := 0.5, expires_s := -1.0) -> NPCAnswer:
	var keys := {"npcs": [_presence.npc], "text": event, "importance": importance}
	if expires_s >= 0.0:
		keys["expires_s"] = expires_s
	return await _ask("event", keys)


## The player cuts in. [param heard_chars] is how many characters of the lines of the reply were
## shown or spoken so far, nothing between the lines: the rest counts as never said. -1: all of it.
## That works after the reply has ended, too.
func interrupt(heard_chars := -1) -> NPCAnswer:
	var keys := {"target": reply.id if reply != null else "none"}
	if heard_chars >= 0:
		keys["heard"] = heard_chars
	return await _ask("cancel", keys)


## Lets the character never forget a fact ("You promised the player your sword."). The answer's
## [code]turn[/code] is what [method unpin] takes.
func pin(fact: String) -> NPCAnswer:
	return await _ask("pin", {"text": fact})


## The same as [method pin].
func remember(fact: String) -> NPCAnswer:
	return await pin(fact)


## Lets the character never forget a turn of the talk: [member NPCReply.turn].
func pin_turn(turn: int) -> NPCAnswer:
	return await _ask("pin", {"turn": turn})


## Lets a pinned turn age like any other.
func unpin(turn: int) -> NPCAnswer:
	return await _ask("unpin", {"turn": turn})


## The talk as it remembers it: in the [member NPCAnswer.reply] [code]turns[/code], a list of maps
## with [code]turn[/code], [code]pinned[/code] and [code]entries[/code] ([code]kind[/code],
## [code]text[/code], [code]speaker[/code]), and [code]n_forgotten[/code]. [param last]: only so
## many turns, the newest; 0: all of them.
func transcript(last := 0) -> NPCAnswer:
	return await _ask("transcript", {"last": last} if last > 0 else {})


## Lets it forget its last turns, and all that came since: for the character they never were. Call
## [method interrupt] first if it speaks and is not to end its line.
func rewind(turns := 1) -> NPCAnswer:
	return await _ask("rewind", {"turns": turns})


## Lets it forget all turns after this one, a [member NPCReply.turn]; 0: all of them.
func rewind_to(turn: int) -> NPCAnswer:
	return await _ask("rewind", {"to_turn": turn})


## What it holds in its window at this moment, for developers: [code]window[/code] of the protocol.
func window_contents() -> NPCAnswer:
	return await _ask("window")


## Takes the character out of the engine; what was not saved is lost. [method spawn] brings it back.
func despawn() -> NPCAnswer:
	return await _presence.dismiss()


## Brings the character to life. That is done by itself when the engine is ready; call this after
## [method despawn], or when [signal spawn_failed] came and its reason is mended.
func spawn() -> void:
	_presence.summon()


## Returns the card as it goes to the engine, or null and sets [member spawn_error].
func card() -> Variant:
	var fields := {}
	if not card_file.is_empty():
		var file := CardFile.new()
		fields = file.read(card_file)
		if not file.error.is_empty():
			var why := "'%s' is no card: %s" % [card_file, file.error]
			_presence.error = NPCError.make("bad_card", why, file.help)
			return null
	var inner: Dictionary = NPCAnswer.map_of(fields, "data") if fields.has("data") else fields
	if not display_name.is_empty() or not inner.has("name"):
		inner["name"] = display_name if not display_name.is_empty() else str(name)
	if not persona.is_empty():
		var before := NPCAnswer.text_of(inner, "description")
		inner["description"] = (before + "\n" + persona).strip_edges()
	return fields


## For the addon: what the engine knows it by.
func engine_name() -> String:
	return npc if not npc.is_empty() else _sanitized(name)


## For the addon: the keys of a spawn request, or null and [member spawn_error] says why.
func spawn_keys() -> Variant:
	var fields: Variant = card()
	if fields == null:
		return null
	var keys := {"card": fields}
	if not sampling.is_empty():
		keys["sampling"] = sampling
	if window > 0:
		keys["window"] = window
	return keys


func _ask(type: String, keys := {}) -> NPCAnswer:
	return await _request(type, keys, NPCAnswer.new()).completed()


func _request(type: String, keys: Dictionary, answer: NPCAnswer) -> NPCAnswer:
	if not type in ["event", "cancel"]:
		keys["npc"] = _presence.npc
	return _presence.request(type, keys, answer)


func _on_reply_finished(ended: NPCAnswer) -> void:
	if ended.ok:
		reply_finished.emit(ended)
	else:
		reply_failed.emit(ended.error)


func _heed_scene(record: Dictionary) -> void:
	var text := NPCAnswer.text_of(record, "text")
	var type := NPCAnswer.text_of(record, "type")
	if not _speaks_in_scene and type != "turn":
		line_started.emit()
	_speaks_in_scene = type != "turn"
	match type:
		"line":
			line_spoken.emit(text)
		"gesture":
			gesture.emit(text)
		"text":
			text_streamed.emit(text)


static func _sanitized(node_name: String) -> String:
	var allowed := RegEx.create_from_string("[^A-Za-z0-9_.-]")
	return allowed.sub(node_name, "_", true).left(64).lstrip(".")
