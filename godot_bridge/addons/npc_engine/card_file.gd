@tool
extends RefCounted
## Card files: JSON, TOML, and the PNG picture with a card in it (Character Card V2 and V3).
##
## It knows no field of a card: what is in one is checked by the engine. After [method read] look at
## [member error].

const Json := preload("json.gd")
const PngCard := preload("png_card.gd")
const Toml := preload("toml.gd")
const Utf8 := preload("utf8.gd")

## Most bytes of a card.
const MAX_FILE := 4 << 20
## What to do about a card that an exported game lacks.
const EXPORT_HELP := (
	"Enable the plugin NPC Engine before you export: it packs cards. Without it, add *.json, *.toml "
	+ "to the filter of non-resource files in the export preset, and import a PNG as 'Keep File'."
)

## Most bytes of a picture.
const MAX_PNG := 32 << 20

const _MEND := "Mend the file, or choose another."

## Why the last call failed; empty when it did not.
var error := ""
## What to do about it.
var help := _MEND


## Returns the card in a file.
func read(path: String) -> Dictionary:
	error = ""
	help = _MEND
	var file := FileAccess.open(path, FileAccess.READ)
	if file == null:
		error = "it cannot be read (%s)" % error_string(FileAccess.get_open_error())
		if path.begins_with("res://") and not Engine.is_editor_hint():
			_blame_export(path)
		return {}
	var suffix := path.get_extension().to_lower()
	if file.get_length() > (MAX_PNG if suffix == "png" else MAX_FILE):
		error = "it is too large"
		return {}
	return parse(file.get_buffer(file.get_length()), suffix)


## Returns the card in the bytes of a file; `suffix` is json, toml or png.
func parse(bytes: PackedByteArray, suffix: String) -> Dictionary:
	error = ""
	match "png" if PngCard.is_png(bytes) else suffix:
		"json":
			return _from_json(_text(bytes))
		"toml":
			return _from_toml(_text(bytes))
		"png":
			return _from_png(bytes)
	error = "a card file ends in .json, .toml or .png"
	return {}


## In an exported game a missing file is seldom a wrong path.
func _blame_export(path: String) -> void:
	if ResourceLoader.exists(path):
		error = "of this picture the texture was exported alone, and the card left out"
		help = EXPORT_HELP
	elif not FileAccess.file_exists("res://project.godot"):
		error += "; was it exported?"
		help = EXPORT_HELP


func _text(bytes: PackedByteArray) -> String:
	var at := Utf8.bad_at(bytes)
	if at >= 0:
		var line := bytes.slice(0, at).count(10) + 1
		error = "line %d: it is not UTF-8, or holds NUL (byte %d)" % [line, at]
		return ""
	return bytes.get_string_from_utf8()


func _from_toml(text: String) -> Dictionary:
	var toml := Toml.new()
	var card := toml.parse(text)
	if error.is_empty():
		error = toml.error
	return card if error.is_empty() else {}


func _from_json(text: String) -> Dictionary:
	var json := Json.new()
	if not error.is_empty():
		return {}
	var card: Variant = json.parse(text)
	error = json.error
	if error.is_empty() and not card is Dictionary:
		error = "it holds no map"
	return card if error.is_empty() else {}


func _from_png(bytes: PackedByteArray) -> Dictionary:
	if not PngCard.is_png(bytes):
		error = "it is no PNG picture"
		return {}
	var png := PngCard.new(MAX_FILE)
	var raw := png.find(bytes)
	error = png.error
	return _from_json(_text(raw)) if error.is_empty() else {}
