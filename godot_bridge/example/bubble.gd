extends PanelContainer
## What somebody says over their head: shows a line letter by letter, and a while longer.

const LETTERS_PER_S := 38.0
const HOLD_S := 1.4
const WIDEST := 256.0

## The line.
var line: String:
	get:
		return _label.text
## How many letters of the line are shown.
var n_shown: int:
	get:
		return int(_shown)
## Whether all of the line is shown.
var is_read_out: bool:
	get:
		return visible and n_shown == _label.text.length()
## Whether the line was there long enough to be read.
var is_done: bool:
	get:
		return _held_s >= HOLD_S

var _shown := 0.0
var _held_s := HOLD_S

@onready var _label: Label = $Label
@onready var _feet := Vector2(position.x + size.x / 2.0, position.y + size.y)


func _ready() -> void:
	hide()


func _process(delta: float) -> void:
	if not visible:
		return
	_shown = minf(_shown + LETTERS_PER_S * delta, _label.text.length())
	_label.visible_characters = n_shown
	if is_read_out:
		_held_s += delta
	reset_size()  # the label knows its height a frame after its words
	position = _feet - Vector2(size.x / 2.0, size.y)


## The tip that points at who speaks.
func _draw() -> void:
	var foot := Vector2(size.x / 2.0, size.y - 1.0)
	var tip := PackedVector2Array(
		[foot + Vector2(-9, 0), foot + Vector2(9, 0), foot + Vector2(0, 11)]
	)
	draw_colored_polygon(tip, (get_theme_stylebox("panel") as StyleBoxFlat).bg_color)


## Shows a line in the place of the one before.
func say(words: String) -> void:
	var font := _label.get_theme_font("font")
	var letters := font.get_string_size(words, 0, -1, _label.get_theme_font_size("font_size"))
	_label.custom_minimum_size.x = minf(letters.x + 1.0, WIDEST)
	_label.text = words
	_label.visible_characters = 0
	_shown = 0.0
	_held_s = 0.0
	show()


## Shows nothing.
func hush() -> void:
	hide()
	_shown = 0.0
	_held_s = HOLD_S
