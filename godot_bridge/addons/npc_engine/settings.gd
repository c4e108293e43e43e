@tool
extends RefCounted
## What stands under Project Settings > NPC Engine, and where its paths lead.

const _PREFIX := "npc_engine/"


## Puts the settings into the editor, with their defaults.
static func register() -> void:
	for row: Array in _table():
		var path: String = _PREFIX + row[0]
		if not ProjectSettings.has_setting(path):
			ProjectSettings.set_setting(path, row[1])
		ProjectSettings.set_initial_value(path, row[1])
		ProjectSettings.set_as_basic(path, true)
		ProjectSettings.add_property_info(
			{"name": path, "type": typeof(row[1]), "hint": row[2], "hint_string": row[3]}
		)


## Returns the value of a setting, or its default.
static func read(setting: String) -> Variant:
	for row: Array in _table():
		if row[0] == setting:
			return ProjectSettings.get_setting(_PREFIX + setting, row[1])
	push_error("there is no setting npc_engine/%s" % setting)
	return null


## Returns where a file that is shipped with the game lies, or [code]""[/code] if there is none.
## A relative path is looked for beside the game's executable, then in the project.
static func find_file(path: String) -> String:
	for candidate: String in _candidates(path):
		if FileAccess.file_exists(candidate):
			return candidate
	return ""


## Returns the engine's executable, or [code]""[/code] if there is none. Without a setting it is
## looked for beside the game, in [code]npc-engine/[/code] there, and in the system's PATH.
static func find_executable(path: String) -> String:
	if not path.is_empty():
		var found := find_file(path)
		return found if not found.is_empty() else _in_path(path)
	for name: String in ["npc-engine", "npc-engine/npc-engine"]:
		for suffix: String in ["", ".exe"]:
			var found := find_file(name + suffix)
			if not found.is_empty():
				return found
	return _in_path("npc-engine")


static func _candidates(path: String) -> PackedStringArray:
	if path.is_empty():
		return []
	if path.begins_with("res://") or path.begins_with("user://"):
		return [ProjectSettings.globalize_path(path)]
	if path.is_absolute_path():
		return [path]
	var beside := OS.get_executable_path().get_base_dir()
	var found: PackedStringArray = []
	if OS.has_feature("template"):
		found.append(beside.path_join(path))
		found.append(beside.path_join("../Resources").path_join(path))  # inside a macOS bundle
		found.append(beside.path_join("../../..").path_join(path))  # beside it
	else:
		found.append(ProjectSettings.globalize_path("res://").path_join(path))
	return found


static func _in_path(program: String) -> String:
	if program.contains("/") or program.contains("\\"):
		return ""
	var is_windows := OS.get_name() == "Windows"
	for folder: String in OS.get_environment("PATH").split(";" if is_windows else ":", false):
		for suffix: String in [".exe", ""] if is_windows else [""]:
			var candidate := folder.path_join(program + suffix)
			if FileAccess.file_exists(candidate):
				return candidate
	return ""


## Setting, default, kind of editor field, and what the field wants to know.
static func _table() -> Array[Array]:
	return [
		["start_with_game", true, PROPERTY_HINT_NONE, ""],
		["model", "", PROPERTY_HINT_GLOBAL_FILE, "*.gguf"],
		["executable", "", PROPERTY_HINT_GLOBAL_FILE, ""],
		["arguments", PackedStringArray(), PROPERTY_HINT_NONE, ""],
		["saves", "user://npc_saves", PROPERTY_HINT_NONE, ""],
		["endpoint", "", PROPERTY_HINT_PLACEHOLDER_TEXT, "tcp://127.0.0.1:5757"],
		["token", "", PROPERTY_HINT_PASSWORD, ""],
		["use_thread", false, PROPERTY_HINT_NONE, ""],
		["frame_budget_ms", 1.0, PROPERTY_HINT_RANGE, "0.1,8,0.1"],
	]
