@tool
extends EditorPlugin
## Sits in a real editor in the place of its user: opens a scene, looks at the warnings, presses
## Talk, talks. What it has seen goes into the file NPC_NOTE, then the editor ends.

const DOCK := "res://addons/npc_engine/editor/talk_dock.gd"
const WAIT_S := 25.0

var _seen := {}


func _enter_tree() -> void:
	if not OS.get_environment("NPC_NOTE").is_empty():
		_run.call_deferred()


func _run() -> void:
	await _try()
	var file := FileAccess.open(OS.get_environment("NPC_NOTE"), FileAccess.WRITE)
	file.store_string(JSON.stringify(_seen))
	file.close()
	get_tree().quit()


func _try() -> void:
	var files := EditorInterface.get_resource_filesystem()
	await _until("scanned", func() -> bool: return not files.is_scanning())
	EditorInterface.open_scene_from_path("res://main.tscn")
	await _until("opened", func() -> bool: return EditorInterface.get_edited_scene_root() != null)
	var scene := EditorInterface.get_edited_scene_root()
	for node in scene.get_children():
		if (node.get_script() as Script).is_tool():
			_seen[str(node.name)] = Array(node._get_configuration_warnings())
	_seen["autoload"] = get_node_or_null("/root/NPCEngine") != null
	var dock := _dock()
	for npc: String in ["Mara", "Bram"]:
		await _talk(dock, scene.get_node(npc))
	_seen["pid"] = dock._session.engine_pid


func _talk(dock: Control, node: Node) -> void:
	EditorInterface.edit_node(node)
	if not await _until("button of %s" % node.name, func() -> bool: return _button() != null):
		return
	_button().pressed.emit()
	var can_talk := func() -> bool: return dock._entry.editable and dock._who == node.name
	await _until("%s is there" % node.name, can_talk)
	dock._entry.text_submitted.emit("Who are you?")
	var is_answered := func() -> bool: return dock._talk.get_parsed_text().contains("a second)")
	await _until("%s has answered" % node.name, is_answered)
	_seen["talk with %s" % node.name] = dock._talk.get_parsed_text()
	_seen["dock of %s" % node.name] = dock.is_visible_in_tree()
	EditorInterface.inspect_object(null)
	await _until("no button", func() -> bool: return _button() == null)


func _dock() -> Control:
	var all := EditorInterface.get_base_control().find_children("*", "VBoxContainer", true, false)
	for node in all:
		var script := node.get_script() as Script
		if script != null and script.resource_path == DOCK:
			return node
	return null


func _button() -> Button:
	for node in EditorInterface.get_inspector().find_children("*", "Button", true, false):
		if (node as Button).text == "Talk" and not node.is_queued_for_deletion():
			return node
	return null


func _until(what: String, condition: Callable) -> bool:
	var end := Time.get_ticks_msec() + int(WAIT_S * 1000)
	while not condition.call():
		if Time.get_ticks_msec() > end:
			_seen["never"] = _seen.get("never", []) + [what]
			return false
		await get_tree().process_frame
	return true
