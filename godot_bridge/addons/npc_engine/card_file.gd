@tool
extends RefCounted
## Card files: JSON, TOML, and the PNG picture with a card in it (Character Card V2 and V3).
##
## It knows no field of a card: what is in one is checked by the engine. After [method read] look at
## [member error].

const Toml := preload("toml.gd")
const Utf8 := preload("utf8.gd")

## Most bytes of a card.
const MAX_FILE := 4 << 20
## Most bytes of a picture.
const MAX_PNG := 32 << 20

const _BASE64 := "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]=)?$"
const _LARGEST_EXACT := 9007199254740992.0
const _SIGNATURE: PackedByteArray = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

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
	match suffix:
		"json":
			return _from_json(_text(bytes))
		"toml":
			return _from_toml(_text(bytes))
		"png":
			return _from_png(bytes)
	error = "a card file ends in .json, .toml or .png"
	return {}


func _text(bytes: PackedByteArray) -> String:
	var text: Variant = Utf8.text_of(bytes)
	if text == null:
		error = "it is not UTF-8"
		return ""
	return text


func _from_toml(text: String) -> Dictionary:
	var toml := Toml.new()
	var card := toml.parse(text)
	if error.is_empty():
		error = toml.error
	return card if error.is_empty() else {}


func _from_json(text: String) -> Dictionary:
	var json := JSON.new()
	if not error.is_empty():
		return {}
	if json.parse(text.trim_prefix("\ufeff")) != OK:
		error = "line %d: %s" % [json.get_error_line() + 1, json.get_error_message()]
	elif not json.data is Dictionary:
		error = "it holds no map"
	return _whole(json.data) if error.is_empty() else {}


## JSON makes each number a float; the engine wants whole numbers where the card has them.
static func _whole(value: Variant) -> Variant:
	if value is float and value == floorf(value) and absf(value) < _LARGEST_EXACT:
		return int(value)
	if value is Dictionary:
		for key: Variant in value:
			value[key] = _whole(value[key])
	elif value is Array:
		for i: int in value.size():
			value[i] = _whole(value[i])
	return value


## The text chunk `ccv3` counts more than `chara`; the picture itself is not looked at.
func _from_png(bytes: PackedByteArray) -> Dictionary:
	var found := {}
	var at := 8
	if bytes.slice(0, 8) != _SIGNATURE:
		at = bytes.size()
	while at + 12 <= bytes.size():
		var size := bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]
		var body := bytes.slice(at + 8, at + 8 + size)
		var end := body.find(0)
		if bytes.slice(at + 4, at + 8).get_string_from_ascii() == "tEXt" and end > 0:
			found[body.slice(0, end)] = body.slice(end + 1)
		at += 12 + size
	for key: String in ["ccv3", "chara"]:
		if found.has(key.to_ascii_buffer()):
			return _from_base64(found[key.to_ascii_buffer()])
	error = "there is no card in this picture"
	return {}


func _from_base64(bytes: PackedByteArray) -> Dictionary:
	var raw := PackedByteArray()
	if bytes.size() <= 2 * MAX_FILE and Utf8.is_valid(bytes):
		var text := bytes.get_string_from_utf8().strip_edges()
		if RegEx.create_from_string(_BASE64).search(text) != null:
			raw = Marshalls.base64_to_raw(text)
	if raw.is_empty():
		error = "the card in this picture is damaged"
		return {}
	return _from_json(_text(raw))
