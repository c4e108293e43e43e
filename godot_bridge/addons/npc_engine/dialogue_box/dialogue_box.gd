@icon("../icon.svg")
class_name NPCDialogueBox
extends Control
## A balloon to talk with an [NPCCharacter]: its lines letter by letter, its portrait, choices and a
## field to type in.
##
## [codeblock]
## $DialogueBox.choices = ["Who are you?", "What is that bell?"]
## $DialogueBox.talk_to($Mara, preload("mara.svg"))
## [/codeblock]
## The player cuts in at any time: by a click on the balloon, by [code]ui_cancel[/code] (Escape, B),
## by a choice or by typing. The character then remembers having said only what was shown.
## [br]It is meant to be replaced: it uses the public face of [NPCCharacter] and [NPCReply] alone.
## To change how it looks, put the type variations of [code]theme.tres[/code] into your own [Theme],
## or give it another [member look].

## The balloon is shown.
signal opened(character: NPCCharacter)
## The balloon is gone.
signal closed
## The player has said something, by a choice or by typing.
signal player_spoke(text: String)
## All that the character has to say is shown. Not after [signal interrupted].
signal reply_shown
## The player has cut in; [param heard_chars] is how many characters of the lines were shown.
signal interrupted(heard_chars: int)
## There is no reply; the player sees [member canned_line].
signal failed(error: NPCError)

const Look := preload("look.gd")
const Typewriter := preload("typewriter.gd")

const _YES := JOY_BUTTON_A
const _NO := JOY_BUTTON_B
const _OUR_LOOK := preload("look.tscn")
const _OUR_THEME := preload("theme.tres")

## Letters shown in a second; 0: all at once.
@export_range(0.0, 400.0, 1.0) var letters_per_second := 45.0
## What the player can say without typing.
@export var choices: PackedStringArray = []:
	set(value):
		choices = value
		_show_choices()
## Whether the player can type.
@export var free_text := true:
	set(value):
		free_text = value
		_show_choices()
## Who the player is to the character.
@export var speaker := "Player"
## What stands in the place of a reply that does not come.
@export_multiline var canned_line := "\u2026"
## How it looks: a scene whose root has the script [code]look.gd[/code].
@export var look: PackedScene = _OUR_LOOK

@export_group("Words")
## What stands in the field while it is empty.
@export var placeholder := "Say something \u2026"
## On the button that sends what was typed.
@export var send_word := "Say"
## On the button that ends the talk.
@export var leave_word := "Leave"
## On the same button while the character speaks.
@export var cut_in_word := "Cut in"
## Before what the player has said.
@export var you_word := "You"

## Whom the player talks to, or null.
var character: NPCCharacter
## Whether the balloon is shown.
var is_open: bool:
	get:
		return character != null
## Whether the character speaks: more is to be shown, or to come.
var is_speaking: bool:
	get:
		return is_open and (_is_reply_open() or not _words.is_all_shown)
## What the character has said since the player spoke last, shown or not, gestures included.
var text: String:
	get:
		return _words.text
## How many characters of its lines are shown.
var heard: int:
	get:
		return _words.heard

var _words := Typewriter.new()
var _reply: NPCReply
var _look: Look
var _uses_gamepad := false
var _is_fresh := false


func _init() -> void:
	set_anchors_preset(PRESET_FULL_RECT)
	mouse_filter = MOUSE_FILTER_IGNORE


func _ready() -> void:
	if not has_theme_stylebox("panel", "NPCDialogueBox"):
		theme = _OUR_THEME  # neither the game's theme nor a parent's knows the balloon
	var root := look.instantiate()
	if not root is Look:
		push_error("NPCDialogueBox: the root of '%s' has no look.gd." % look.resource_path)
		root.free()
		root = _OUR_LOOK.instantiate()
	_look = root
	add_child(_look)
	_look.said.connect(say)
	_look.typed.connect(_on_typed)
	_look.cut_in.connect(barge_in)
	_look.left.connect(cut_in_or_leave)
	_show_choices()
	hide()


func _process(delta: float) -> void:
	if not is_open:
		return
	_advance(delta)
	if _words.text.is_empty() and _is_reply_open():
		_look.show_waiting()
	var way_out := cut_in_word if is_speaking else leave_word
	_look.show_words(placeholder, send_word, "%s (%s)" % [way_out, "B" if _uses_gamepad else "Esc"])


## Sees the way out before the field does, which would take it for the end of typing. Godot's own
## input map has no button of a gamepad for [code]ui_cancel[/code] and [code]ui_accept[/code].
func _input(event: InputEvent) -> void:
	var button := event as InputEventJoypadButton
	if button != null:
		_uses_gamepad = true
	elif event is InputEventKey or event is InputEventMouseButton:
		_uses_gamepad = false
	if not is_open or not is_visible_in_tree():
		return
	if event is InputEventKey and not event.is_echo():
		_is_fresh = false
	if _is_fresh and event.is_echo():
		get_viewport().set_input_as_handled()  # the key that opened it is still held: no word
	var is_pressed := button != null and button.pressed
	if event.is_action_pressed("ui_cancel") or (is_pressed and button.button_index == _NO):
		get_viewport().set_input_as_handled()
		cut_in_or_leave()
	elif is_pressed and button.button_index == _YES and not event.is_action("ui_accept"):
		get_viewport().set_input_as_handled()
		_look.press_focused()


## Opens the balloon. [param opening] is shown as the character's first words, such as the greeting
## of [signal NPCCharacter.spawned].
func talk_to(who: NPCCharacter, portrait: Texture2D = null, opening := "") -> void:
	if _look == null:
		push_error("NPCDialogueBox: add it to the scene before talk_to().")
		return
	close()
	character = who
	who.tree_exiting.connect(close)
	who.attend()
	_look.show_speaker(name_of(who), portrait)
	_begin("")
	if not opening.is_empty():
		_add(opening, true)
	_is_fresh = true
	show()
	_look.take_focus(_uses_gamepad)
	opened.emit(who)


## Closes the balloon; what was not shown was never said.
func close() -> void:
	if not is_open:
		return
	barge_in()
	_part_from_reply()
	character.tree_exiting.disconnect(close)
	character = null
	hide()
	closed.emit()


## Says something to the character, as if the player had typed it.
func say(words: String) -> void:
	var said := words.strip_edges()
	if said.is_empty() or not is_open:
		return
	barge_in()
	_begin("%s: %s" % [you_word, said])
	player_spoke.emit(said)
	if is_open:  # a game may close it on "Goodbye."
		_follow(character.say(said, [], speaker))
		_look.take_focus(_uses_gamepad)


## Cuts in: the character falls silent, and remembers having said only what is shown.
func barge_in() -> void:
	if not is_speaking:
		return
	var n_heard := _words.heard
	_words.cut()
	_look.show_text(_words, true)
	if _reply == null:
		return  # an opening: the character knows that it said all of it
	if character.reply == _reply:
		character.interrupt(n_heard)
	_part_from_reply()
	interrupted.emit(n_heard)


## Shows at once what has come so far.
func skip() -> void:
	_words.skip()
	_look.show_progress(_words.n_shown)


## What [code]ui_cancel[/code] and the button for the way out do.
func cut_in_or_leave() -> void:
	if is_speaking:
		barge_in()
	else:
		close()


## Returns how a character is called in talk.
static func name_of(who: NPCCharacter) -> String:
	if not who.display_name.is_empty():
		return who.display_name
	var card: Variant = who.card()
	var fields: Dictionary = card if card is Dictionary else {}
	if fields.has("data"):
		fields = NPCAnswer.map_of(fields, "data")
	var full_name := NPCAnswer.text_of(fields, "name", who.name)
	var nickname := NPCAnswer.text_of(fields, "nickname")
	return full_name if nickname.is_empty() else nickname


func _is_reply_open() -> bool:
	return _reply != null and not _reply.is_finished


func _begin(said: String) -> void:
	_part_from_reply()
	_words.clear()
	_look.show_said(said)
	_look.show_text(_words, false)


func _follow(reply: NPCReply) -> void:
	_reply = reply
	reply.line_spoken.connect(_add.bind(true))
	reply.gesture.connect(_add.bind(false))
	reply.finished.connect(_on_finished)


func _part_from_reply() -> void:
	if _reply == null:
		return
	_reply.line_spoken.disconnect(_add)
	_reply.gesture.disconnect(_add)
	_reply.finished.disconnect(_on_finished)
	_reply = null


func _add(words: String, is_line: bool) -> void:
	if is_line:
		_words.add_line(words)
	else:
		_words.add_gesture(words)
	_look.show_text(_words, false)


func _on_finished(reply: NPCReply) -> void:
	var is_silent := _words.text.is_empty()
	if is_silent or not reply.ok:
		_part_from_reply()  # there is nothing to be cut short
	if is_silent:
		_add(canned_line, true)
	if not reply.ok:
		failed.emit(reply.error)
	elif _words.is_all_shown:
		reply_shown.emit()


func _advance(delta: float) -> void:
	if _words.is_all_shown:
		return
	if letters_per_second > 0.0:
		_words.advance(letters_per_second * delta)
	else:
		_words.skip()
	_look.show_progress(_words.n_shown)
	if not is_speaking:
		reply_shown.emit()


func _show_choices() -> void:
	if _look == null:
		return
	_look.show_choices(choices, free_text)
	if is_open:
		_look.take_focus(_uses_gamepad)


func _on_typed(words: String) -> void:
	if is_open and not words.strip_edges().is_empty():
		character.hear(words, speaker)
