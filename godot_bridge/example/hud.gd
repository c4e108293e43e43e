extends CanvasLayer
## What stands on the glass: how the engine is, what to press, and notes such as "Saved."

const Controls := preload("controls.gd")

const _NOTE_S := 3.5
const _GOOD := Color("9ad17b")
const _WAITING := Color("f0c674")
const _BAD := Color("f08a78")

var _fading: Tween

@onready var _status: Label = %Status
@onready var _light: ColorRect = %Light
@onready var _help: Label = %Help
@onready var _note: Label = %Note
@onready var _note_panel: Control = %NotePanel
@onready var _trouble: Control = %Trouble
@onready var _trouble_text: Label = %TroubleText


func _ready() -> void:
	NPCEngine.engine_ready.connect(_on_engine_ready)
	NPCEngine.engine_failed.connect(_on_engine_failed)
	NPCEngine.engine_stopped.connect(
		_show_status.bind("The engine is gone; looking for it", _WAITING)
	)
	NPCEngine.log_written.connect(_on_log_written)
	Input.joy_connection_changed.connect(_on_joy_connection_changed)
	_help.text = Controls.help()
	_note_panel.hide()
	_trouble.hide()
	_show_status("The engine is starting", _WAITING)


## Shows a few words for a while.
func tell(words: String) -> void:
	_note.text = words
	_note_panel.show()
	if _fading != null:
		_fading.kill()
	_fading = create_tween()
	_fading.tween_interval(_NOTE_S)
	_fading.tween_callback(_note_panel.hide)


## Shows what to press, or hides it.
func show_help(is_shown: bool) -> void:
	(_help.get_parent() as Control).visible = is_shown


func _show_status(words: String, color: Color) -> void:
	_status.text = words
	_light.color = color


func _on_engine_ready() -> void:
	_trouble.hide()
	_show_status("Ready", _GOOD)


## A developer reads this; a finished game would say something kinder, and write this into its log.
func _on_engine_failed(code: String, message: String, help: String) -> void:
	_show_status("No engine", _BAD)
	_trouble_text.text = "%s\n%s" % [message, help]
	if code in ["model_not_found", "executable_not_found"]:
		_trouble_text.text += "\n\n`make setup`, in the folder above this project, brings both."
	_trouble.show()


func _on_log_written(line: String) -> void:
	if not NPCEngine.is_engine_ready() and line.ends_with(" %"):
		_show_status(line.strip_edges(), _WAITING)


func _on_joy_connection_changed(_device: int, _is_connected: bool) -> void:
	_help.text = Controls.help()
