@tool
extends RefCounted
## JSON (RFC 8259) read as the engine and its other clients read it. Godot's own takes a comma at an
## end, makes each number a float, and gives up where half of a surrogate pair stands alone.
##
## Line breaks and tabs may stand in a text as they are; NUL and lone surrogates are left out of it.
## After [method parse] look at [member error].

const MAX_DEPTH := 64

const _ESCAPES := {
	"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "/": "/"
}
const _WORDS := {"true": true, "false": false, "null": null}
const _NUMBER := "^-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
const _LARGEST := "9223372036854775807"
const _SMALLEST := "-9223372036854775808"

## Why the last call failed, with the line; empty when it did not.
var error := ""

var _text := ""
var _at := 0
var _quote := -1  # where the next one stands, if that is behind _at
var _slash := -1
var _number := RegEx.create_from_string(_NUMBER)


## Returns the value in `text`, and an [member error] if it is no JSON.
func parse(text: String) -> Variant:
	error = ""
	_text = text  # a mark of the byte order is gone with the bytes
	_at = 0
	_quote = -1
	_slash = -1
	var value: Variant = _read_value(0)
	_skip()
	if error.is_empty() and _at < _text.length():
		_fail("more follows behind its end")
	return value if error.is_empty() else null


func _read_value(depth: int) -> Variant:
	if depth > MAX_DEPTH:
		return _fail("it is nested more than %d levels deep" % MAX_DEPTH)
	_skip()
	match _peek():
		"{":
			return _read_map(depth)
		"[":
			return _read_list(depth)
		'"':
			return _read_text()
	for word: String in _WORDS:
		if _text.substr(_at, word.length()) == word:
			_at += word.length()
			return _WORDS[word]
	return _read_number()


func _read_map(depth: int) -> Dictionary:
	var map := {}
	_at += 1
	_skip()
	while error.is_empty() and not (map.is_empty() and _peek() == "}"):
		_skip()
		var key := _read_text()
		_skip()
		_expect(":")
		map[key] = _read_value(depth + 1)
		_skip()
		if _peek() == "}":
			break
		_expect(",")
	_at += 1
	return map


func _read_list(depth: int) -> Array:
	var list := []
	_at += 1
	_skip()
	while error.is_empty() and not (list.is_empty() and _peek() == "]"):
		list.append(_read_value(depth + 1))
		_skip()
		if _peek() == "]":
			break
		_expect(",")
	_at += 1
	return list


func _read_text() -> String:
	_expect('"')
	var parts: PackedStringArray = []
	while error.is_empty():
		# Looked for once, not once an escape: a text may be long.
		_quote = _quote if _quote >= _at else _find('"')
		_slash = _slash if _slash >= _at else _find("\\")
		var end := mini(_quote, _slash)
		if end == _text.length():
			_fail("a text is not closed")
		parts.append(_text.substr(_at, end - _at))
		_at = end + 1
		if end == _quote:
			break
		parts.append(_read_escape())
	return "".join(parts)


func _find(letter: String) -> int:
	var found := _text.find(letter, _at)
	return found if found >= 0 else _text.length()


func _read_escape() -> String:
	var letter := _peek()
	_at += 1
	if _ESCAPES.has(letter):
		return _ESCAPES[letter]
	if letter != "u":
		_at -= 1
		_fail("there is no escape '\\%s'" % letter)
		return ""
	var unit := _read_unit()
	if unit & 0xFC00 == 0xD800 and _text.substr(_at, 2) == "\\u":
		var before := _at
		_at += 2
		var low := _read_unit()
		if low & 0xFC00 == 0xDC00:
			return String.chr(0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF))
		_at = before  # a text of its own, or half of another pair
	return "" if unit <= 0 or unit & 0xF800 == 0xD800 else String.chr(unit)


func _read_unit() -> int:
	var digits := _text.substr(_at, 4)
	if digits.length() < 4 or not digits.is_valid_hex_number() or digits[0] in "+-":
		_fail("\\u wants four hexadecimal digits")
		return -1
	_at += 4
	return digits.hex_to_int()


func _read_number() -> Variant:
	var from := _at
	while _at < _text.length() and _text[_at] in "+-.0123456789eE":
		_at += 1
	var word := _text.substr(from, _at - from)
	if _number.search(word) == null:
		_at = from
		return _fail("there is no number '%s'" % word.left(40) if word else "a value is expected")
	var is_whole := not ("." in word or "e" in word or "E" in word)
	if is_whole and (word == _SMALLEST or _fits(word.trim_prefix("-"))):
		return word.to_int()
	var real := word.to_float()
	if is_nan(real):  # what Godot makes of 0e999
		return 0.0
	if is_inf(real):
		_at = from
		return _fail("%s is too large a number" % word.left(20))
	return real


static func _fits(digits: String) -> bool:
	if digits.length() == _LARGEST.length():
		return digits <= _LARGEST
	return digits.length() < _LARGEST.length()


func _skip() -> void:
	while _at < _text.length() and _text[_at] in " \t\r\n":
		_at += 1


func _peek() -> String:
	return _text[_at] if _at < _text.length() else ""


func _expect(letter: String) -> void:
	if error.is_empty() and _peek() != letter:
		_fail("'%s' is expected" % letter)
	_at += 1


func _fail(why: String) -> Variant:
	if error.is_empty():
		error = "line %d: %s" % [_text.substr(0, _at).count("\n") + 1, why]
	return null
