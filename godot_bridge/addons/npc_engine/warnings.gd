@tool
extends RefCounted
## What is missing for a character to talk, and what to do about it: for the editor's scene dock.

const CardFile := preload("card_file.gd")
const Settings := preload("settings.gd")
const Sidecar := preload("sidecar.gd")

const _NAME := "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"


## Returns what is wrong with the node's own settings.
static func of_character(npc: String, card_file: String, persona: String) -> PackedStringArray:
	var found: PackedStringArray = []
	if card_file.is_empty() and persona.strip_edges().is_empty():
		found.append("It is nobody yet. Choose a card_file, or write who it is into persona.")
	if not card_file.is_empty():
		var file := CardFile.new()
		file.read(card_file)
		if not file.error.is_empty():
			var why := "'%s' is no card: %s. Mend the file, or choose another."
			found.append(why % [card_file, file.error])
		elif not _is_exported(card_file):
			var why := "'%s' will be missing from the exported game. %s"
			found.append(why % [card_file, _help_export(card_file)])
	if not npc.is_empty() and RegEx.create_from_string(_NAME).search(npc) == null:
		var why := "'%s' is no name for the engine. Set npc to 1-64 of A-Z a-z 0-9 _ . -, no dot first."
		found.append(why % npc)
	return found


## Whether an exported game has the card. Godot itself exports JSON, of a PNG the texture alone, and
## no TOML.
static func _is_exported(card_file: String) -> bool:
	if not ResourceUID.ensure_path(card_file).begins_with("res://"):
		return card_file.begins_with("user://")  # which the game fills itself
	return _is_enabled() or card_file.get_extension().to_lower() == "json"


static func _is_enabled() -> bool:
	var enabled: PackedStringArray = ProjectSettings.get_setting("editor_plugins/enabled", [])
	return enabled.has("res://addons/npc_engine/plugin.cfg")


static func _help_export(card_file: String) -> String:
	if not ResourceUID.ensure_path(card_file).begins_with("res://"):
		return "Copy it into the project (res://)."
	return CardFile.EXPORT_HELP


## Returns what every character of this project lacks.
static func of_project() -> PackedStringArray:
	var found: PackedStringArray = []
	if not ProjectSettings.has_setting("autoload/NPCEngine"):
		var why := "The autoload NPCEngine is missing. Enable the plugin NPC Engine under "
		found.append(why + "Project > Project Settings > Plugins.")
	if not str(Settings.read("endpoint")).is_empty():
		return found
	for missing in Sidecar.lacks(Settings.read("executable"), Settings.read("model")):
		found.append("%s %s" % [missing.message, missing.help])
	return found
