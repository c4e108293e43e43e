extends "res://tests/case.gd"
## What the tests share that play with keys, mouse and gamepad.

var _held: Dictionary[Key, bool] = {}


func after() -> void:
	for key: Key in _held.keys():
		hold(key, false)
	super()


## Lets some frames pass.
func frames(n: int) -> void:
	for i in n:
		await get_tree().process_frame


## Presses a key and lets it go.
func tap(key: Key) -> void:
	send_key(key, true)
	await frames(3)
	send_key(key, false)
	await frames(3)


## Types and presses the return key.
func type(words: String) -> void:
	for letter in words:
		send_key(KEY_NONE, true, letter.unicode_at(0))
		await get_tree().process_frame
	await tap(KEY_ENTER)


## Holds a key down, or lets it go.
func hold(key: Key, is_down: bool) -> void:
	if _held.has(key) == is_down:
		return
	send_key(key, is_down)
	if is_down:
		_held[key] = true
	else:
		_held.erase(key)


func send_key(key: Key, is_down: bool, unicode := 0) -> void:
	var event := InputEventKey.new()
	event.keycode = key
	event.physical_keycode = key
	event.unicode = unicode
	event.pressed = is_down
	Input.parse_input_event(event)


## Clicks at a place on the canvas.
func click(at: Vector2) -> void:
	for is_down: bool in [true, false]:
		var event := InputEventMouseButton.new()
		event.button_index = MOUSE_BUTTON_LEFT
		event.pressed = is_down
		event.position = get_tree().root.get_final_transform() * at
		event.global_position = event.position
		Input.parse_input_event(event)
	await frames(3)


func press_button(index: JoyButton) -> void:
	for is_down: bool in [true, false]:
		var event := InputEventJoypadButton.new()
		event.button_index = index
		event.pressed = is_down
		Input.parse_input_event(event)
		await frames(2)
