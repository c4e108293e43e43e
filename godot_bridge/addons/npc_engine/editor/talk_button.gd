@tool
extends EditorInspectorPlugin
## Puts the button "Talk" above the properties of an [NPCCharacter].

## The button was pressed.
signal talk_wanted(character: Node)


func _can_handle(object: Object) -> bool:
	return object is NPCCharacter


func _parse_begin(object: Object) -> void:
	var button := Button.new()
	button.text = "Talk"
	button.tooltip_text = "Opens a chat with this character, as it is now, in the dock Talk."
	button.pressed.connect(talk_wanted.emit.bind(object))
	add_custom_control(button)
