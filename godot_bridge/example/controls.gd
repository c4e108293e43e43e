extends RefCounted
## The keys and buttons of the village. A game of yours has them in Project Settings > Input Map.

const _STICK := 0.4

const _KEYS := {
	"walk_left": [KEY_A, KEY_LEFT],
	"walk_right": [KEY_D, KEY_RIGHT],
	"walk_up": [KEY_W, KEY_UP],
	"walk_down": [KEY_S, KEY_DOWN],
	"talk": [KEY_E, KEY_SPACE],
	"draw_sword": [KEY_Q],
	"save_game": [KEY_F5],
	"load_game": [KEY_F9],
}
const _BUTTONS := {
	"walk_left": JOY_BUTTON_DPAD_LEFT,
	"walk_right": JOY_BUTTON_DPAD_RIGHT,
	"walk_up": JOY_BUTTON_DPAD_UP,
	"walk_down": JOY_BUTTON_DPAD_DOWN,
	"talk": JOY_BUTTON_A,
	"draw_sword": JOY_BUTTON_X,
	"save_game": JOY_BUTTON_BACK,
	"load_game": JOY_BUTTON_START,
}
const _AXES := {
	"walk_left": [JOY_AXIS_LEFT_X, -1.0],
	"walk_right": [JOY_AXIS_LEFT_X, 1.0],
	"walk_up": [JOY_AXIS_LEFT_Y, -1.0],
	"walk_down": [JOY_AXIS_LEFT_Y, 1.0],
}


## Adds the actions, once.
static func add() -> void:
	for action: String in _KEYS:
		if InputMap.has_action(action):
			continue
		InputMap.add_action(action, _STICK)
		for key: Key in _KEYS[action]:
			var event := InputEventKey.new()
			event.physical_keycode = key  # the same place on every keyboard
			InputMap.action_add_event(action, event)
		var button := InputEventJoypadButton.new()
		button.button_index = _BUTTONS[action]
		InputMap.action_add_event(action, button)
		if _AXES.has(action):
			var stick := InputEventJoypadMotion.new()
			stick.axis = _AXES[action][0]
			stick.axis_value = _AXES[action][1]
			InputMap.action_add_event(action, stick)


## Returns what to press, in a line.
static func help() -> String:
	if not Input.get_connected_joypads().is_empty():
		return "Stick: walk    A: talk    X: draw your sword    Back: save    Start: load"
	return "WASD or arrows: walk    E: talk    Q: draw your sword    F5: save    F9: load"
