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
## Most bytes of a picture.
const MAX_PNG := 32 << 20

## Why the last call failed; empty when it did not.
var error := ""


## Returns the card in a file.
func read(path: String) -> Dictionary:
	error = ""
	var file := FileAccess.open(path, FileAccess.READ)
	if file == null:
		error = "it cannot be read (%s)" % error_string(FileAccess.get_open_error())
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
