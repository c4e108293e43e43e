extends Control
## How a [NPCDialogueBox] looks, and what the player does to it: the script of the root of a look.
##
## It knows no character. For a look of your own save look.tscn under another name, rearrange it and
## give it to [member NPCDialogueBox.look]: the nodes with a [code]%[/code] have to stay, and may be
## hidden.

## The player has said something, by a choice or by typing.
signal said(words: String)
## The player has typed so far.
signal typed(words: String)
## The player wants to cut in: a click on the balloon, or the return key with nothing typed.
signal cut_in
## The player has pressed the button for the way out.
signal left

const Typewriter := preload("typewriter.gd")

const _CUT := "\u2014"
const _WAITING := "\u2026"

@onready var _name: Label = %Name
@onready var _said: Label = %Said
@onready var _text: RichTextLabel = %Text
@onready var _portrait: TextureRect = %Portrait
@onready var _frame: Control = %PortraitFrame
@onready var _choices: Container = %Choices
@onready var _typing: Control = %Typing
@onready var _input_line: LineEdit = %Input
@onready var _send: Button = %Send
@onready var _leave: Button = %Leave


func _ready() -> void:
	gui_input.connect(_on_gui_input)
	_input_line.text_submitted.connect(_on_submitted)
	_input_line.text_changed.connect(typed.emit)
	_send.pressed.connect(func() -> void: _on_submitted(_input_line.text))
	_leave.pressed.connect(left.emit)


## Shows who speaks.
func show_speaker(title: String, portrait: Texture2D) -> void:
	_name.text = title
	_portrait.texture = portrait
	_frame.visible = portrait != null
	_input_line.clear()


## Shows what the player has said.
func show_said(words: String) -> void:
	_said.text = words


## Shows that the character has heard, and says nothing yet.
func show_waiting() -> void:
	_text.text = _WAITING
	_text.visible_characters = -1


## Shows the words that have come; `is_cut`: the player has cut in.
func show_text(words: Typewriter, is_cut: bool) -> void:
	_text.clear()
	words.each(_show_piece)
	if is_cut and not words.text.is_empty():
		_text.add_text(_CUT)
	show_progress(words.n_shown + (_CUT.length() if is_cut else 0))


## Shows so many letters. What is long scrolls, so that the newest words are in sight.
func show_progress(n_shown: int) -> void:
	_text.visible_characters = n_shown
	var row := _text.get_character_line(maxi(n_shown - 1, 0))
	var n_rows := int(_text.size.y / maxf(_text.get_line_height(0), 1.0))
	_text.scroll_to_line(maxi(row - maxi(n_rows, 1) + 1, 0))


## Shows a button for each choice, and the field to type in if `free_text`.
func show_choices(choices: PackedStringArray, free_text: bool) -> void:
	for old in _choices.get_children():
		_choices.remove_child(old)
		old.queue_free()
	for words in choices:
		var button := Button.new()
		button.text = words
		button.theme_type_variation = "NPCDialogueChoice"
		button.pressed.connect(said.emit.bind(words))
		_choices.add_child(button)
	_choices.visible = not choices.is_empty()
	_typing.visible = free_text


## Shows the words on the fixed parts.
func show_words(placeholder: String, send: String, leave: String) -> void:
	_input_line.placeholder_text = placeholder
	_send.text = send
	_leave.text = leave


## Lets the keyboard type, and the gamepad choose.
func take_focus(with_gamepad: bool) -> void:
	var has_choice := _choices.get_child_count() > 0
	if _typing.visible and not (has_choice and with_gamepad):
		_input_line.edit()
	elif has_choice:
		(_choices.get_child(0) as Button).grab_focus()
	else:
		_leave.grab_focus()


## Does what a click on the button that has the focus does.
func press_focused() -> void:
	var button := get_viewport().gui_get_focus_owner() as Button
	if button != null and is_ancestor_of(button):
		button.pressed.emit()


func _show_piece(words: String, is_line: bool) -> void:
	if _text.get_total_character_count() > 0:
		_text.add_text(Typewriter.GAP)
	if not is_line:
		_text.push_color(get_theme_color("gesture_color", "NPCDialogueText"))
	_text.add_text(words)
	if not is_line:
		_text.pop()


func _on_gui_input(event: InputEvent) -> void:
	var click := event as InputEventMouseButton
	if click != null and click.pressed and click.button_index == MOUSE_BUTTON_LEFT:
		cut_in.emit()


func _on_submitted(words: String) -> void:
	_input_line.clear()
	if words.strip_edges().is_empty():
		cut_in.emit()
	else:
		said.emit(words)
