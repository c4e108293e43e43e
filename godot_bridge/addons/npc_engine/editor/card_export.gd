@tool
extends EditorExportPlugin
## Packs card files as they are. Godot itself leaves TOML out unless a filter names it, and keeps of
## a PNG the texture alone, whatever a filter says: the card in it would be gone.
##
## Left out are what an exclude filter or [code].gdignore[/code] names, pictures whose import is
## "Skip File", and what is no card.

const CardFile := preload("../card_file.gd")

## What a map has beside a name if it is a card.
const _FIELDS: PackedStringArray = [
	"spec",
	"description",
	"personality",
	"persona",
	"scenario",
	"system_prompt",
	"first_mes",
	"mes_example",
	"char_name",
	"char_persona",
	"char_greeting",
	"world_scenario",
	"example_dialogue",
]

var _packed := {}


func _get_name() -> String:
	return "NPCEngineCards"


func _export_begin(_features: PackedStringArray, _debug: bool, _path: String, _flags: int) -> void:
	_packed.clear()
	for path in cards_in("res://"):
		if not _is_excluded(path):
			add_file(path, FileAccess.get_file_as_bytes(path), false)
			_packed[path] = true


## What Godot packs, too, is not packed twice. Of an imported picture it packs no such file.
func _export_file(path: String, _type: String, _features: PackedStringArray) -> void:
	if _packed.has(path) and not FileAccess.file_exists(path + ".import"):
		skip()


## Returns the card files in a folder of the project and those in it.
static func cards_in(folder: String) -> PackedStringArray:
	var found: PackedStringArray = []
	if FileAccess.file_exists(folder.path_join(".gdignore")):
		return found
	for file in DirAccess.get_files_at(folder):
		if is_card(folder.path_join(file)):
			found.append(folder.path_join(file))
	for inner in DirAccess.get_directories_at(folder):
		if not inner.begins_with("."):
			found.append_array(cards_in(folder.path_join(inner)))
	return found


## Whether a file is a card that is to be exported.
static func is_card(path: String) -> bool:
	if not path.get_extension().to_lower() in ["json", "toml", "png"] or _is_skipped(path):
		return false
	var file := CardFile.new()
	var fields := file.read(path)
	if path.get_extension().to_lower() == "png" or not file.error.is_empty():
		return file.error.is_empty()
	var inner: Variant = fields.get("data")
	return _is_filled(fields) or (inner is Dictionary and _is_filled(inner))


static func _is_filled(fields: Dictionary) -> bool:
	return fields.keys().any(func(field: Variant) -> bool: return str(field) in _FIELDS)


## Whether its import says "Skip File": somebody wants it to stay outside.
static func _is_skipped(path: String) -> bool:
	var settings := ConfigFile.new()
	if settings.load(path + ".import") != OK:
		return false
	return settings.get_value("remap", "importer", "") == "skip"


func _is_excluded(path: String) -> bool:
	if not has_method("get_export_preset"):
		return false  # before Godot 4.5
	var preset: Object = call("get_export_preset")
	var filters: String = preset.call("get_exclude_filter") if preset != null else ""
	for filter in filters.split(",", false):
		var pattern := filter.strip_edges()
		if path.matchn(pattern) or path.trim_prefix("res://").matchn(pattern):
			return true
	return false
