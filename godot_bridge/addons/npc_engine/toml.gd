@tool
extends RefCounted
## TOML (https://toml.io), as far as cards need it: texts of all four kinds, numbers, booleans,
## arrays, inline tables, [code][tables][/code] and [code][[arrays of tables]][/code], dotted keys.
## Dates are refused. After [method parse] look at [member error].

const MAX_DEPTH := 64

const _ESCAPES := {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
const _BARE := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

## Why the last call failed, with the line; empty when it did not.
var error := ""

var _text := ""
var _at := 0


## Returns what `text` says, and an [member error] if it is no TOML.
func parse(text: String) -> Dictionary:
	error = ""
	_text = text.trim_prefix("\ufeff").replace("\r\n", "\n")
	_at = 0
	var root := {}
	var table := root
	_skip(true)
	while error.is_empty() and _at < _text.length():
		if _eat("[["):
			table = _open_table(root, true)
		elif _eat("["):
			table = _open_table(root, false)
		else:
			_read_pair(table, 0)
		_end_line()
	return root


func _open_table(root: Dictionary, is_array: bool) -> Dictionary:
	var keys := _read_key()
	if not _eat("]]" if is_array else "]"):
		_fail("a table's name is not closed")
	if not error.is_empty():
		return {}
	var last: String = keys[-1]
	var parent := _descend(root, keys.slice(0, -1))
	if is_array:
		var items: Variant = parent.get_or_add(last, [])
		if not items is Array:
			_fail("'%s' is no array of tables" % last)
			return {}
		items.append({})
		return items[-1]
	return _descend(parent, [last])


func _descend(table: Dictionary, keys: PackedStringArray) -> Dictionary:
	for key in keys:
		var next: Variant = table.get_or_add(key, {})
		if next is Array and not next.is_empty():
			next = next[-1]
		if not next is Dictionary:
			_fail("'%s' is no table" % key)
			return {}
		table = next
	return table


func _read_pair(table: Dictionary, depth: int) -> void:
	var keys := _read_key()
	if error.is_empty() and not _eat("="):
		_fail("a key without '='")
	if not error.is_empty():
		return
	_skip(false)
	var owner := _descend(table, keys.slice(0, -1))
	if owner.has(keys[-1]):
		_fail("'%s' comes twice" % keys[-1])
	var value: Variant = _read_value(depth)
	if error.is_empty():
		owner[keys[-1]] = value


func _read_key() -> PackedStringArray:
	var keys: PackedStringArray = []
	while error.is_empty():
		_skip(false)
		if _peek() == '"' or _peek() == "'":
			keys.append(_read_string())
		else:
			var from := _at
			while _at < _text.length() and _text[_at] in _BARE:
				_at += 1
			if from == _at:
				_fail("a key is expected")
			keys.append(_text.substr(from, _at - from))
		_skip(false)
		if keys.size() > MAX_DEPTH:
			_fail("a key has more than %d parts" % MAX_DEPTH)
		if not _eat("."):
			break
	return keys


func _read_value(depth: int) -> Variant:
	if depth > MAX_DEPTH:
		return _fail("it is nested too deep")
	match _peek():
		'"', "'":
			return _read_string()
		"[":
			return _read_array(depth)
		"{":
			return _read_inline(depth)
	return _read_plain()


func _read_array(depth: int) -> Array:
	var items := []
	_at += 1
	_skip(true)
	while error.is_empty() and not _eat("]"):
		items.append(_read_value(depth + 1))
		_skip(true)
		if not _eat(",") and _peek() != "]":
			_fail("an array is not closed")
		_skip(true)
	return items


func _read_inline(depth: int) -> Dictionary:
	var table := {}
	_at += 1
	_skip(false)
	while error.is_empty() and not _eat("}"):
		_read_pair(table, depth + 1)
		_skip(false)
		if not _eat(",") and _peek() != "}":
			_fail("a table is not closed")
		_skip(false)
	return table


func _read_plain() -> Variant:
	var from := _at
	while _at < _text.length() and not _text[_at] in ",]} \t\n#":
		_at += 1
	var word := _text.substr(from, _at - from)
	if word == "true" or word == "false":
		return word == "true"
	var digits := word.replace("_", "")
	if digits.is_valid_int():
		return digits.to_int()
	if digits.is_valid_hex_number(true) and digits.begins_with("0x"):
		return digits.hex_to_int()
	if digits.is_valid_float():
		return digits.to_float()
	return _fail("'%s' is no value; texts stand in quotes" % word.left(40))


func _read_string() -> String:
	var quote := _text[_at]
	var is_long := _text.substr(_at, 3) == quote.repeat(3)
	var close := quote.repeat(3) if is_long else quote
	_at += close.length()
	if is_long:
		_eat("\n")
	var parts: PackedStringArray = []
	while error.is_empty() and not _closes(close):
		if _at >= _text.length() or (not is_long and _text[_at] == "\n"):
			_fail("a text is not closed")
		elif quote == '"' and _text[_at] == "\\":
			parts.append(_read_escape(is_long))
		else:
			parts.append(_read_letters(quote))
	_at += close.length()
	return "".join(parts)


func _read_letters(quote: String) -> String:
	var from := _at
	_at += 1  # it may be a quote that closes nothing
	while _at < _text.length() and not _text[_at] in "\\\n" and _text[_at] != quote:
		_at += 1
	return _text.substr(from, _at - from)


## Up to two quotes may stand right before the three that close.
func _closes(close: String) -> bool:
	if _text.substr(_at, close.length()) != close:
		return false
	return close.length() == 1 or _text.substr(_at + 1, 3) != close


func _read_escape(is_long: bool) -> String:
	var letter := _text.substr(_at + 1, 1)
	_at += 2
	if _ESCAPES.has(letter):
		return _ESCAPES[letter]
	if letter == "u" or letter == "U":
		var n_digits := 4 if letter == "u" else 8
		var digits := _text.substr(_at, n_digits)
		var code := digits.hex_to_int() if digits.is_valid_hex_number() else -1
		_at += n_digits
		if code > 0 and code <= 0x10FFFF and not (code >= 0xD800 and code < 0xE000):
			return String.chr(code)
	elif is_long and letter in " \t\n" and not letter.is_empty():
		_at -= 1
		while _at < _text.length() and _text[_at] in " \t\n":
			_at += 1
		return ""
	_fail("an unknown escape '\\%s'" % letter)
	return ""


func _peek() -> String:
	return _text[_at] if _at < _text.length() else ""


func _eat(word: String) -> bool:
	if _text.substr(_at, word.length()) != word:
		return false
	_at += word.length()
	return true


## Passes over blanks, and over comments and ends of lines too.
func _skip(lines: bool) -> void:
	while _at < _text.length():
		var letter := _text[_at]
		if lines and letter == "#":
			while _at < _text.length() and _text[_at] != "\n":
				_at += 1
		elif letter in " \t" or (lines and letter == "\n"):
			_at += 1
		else:
			return


func _end_line() -> void:
	_skip(false)
	if error.is_empty() and not _peek() in ["", "\n", "#"]:
		_fail("something follows that does not belong here")
	_skip(true)


func _fail(why: String) -> Variant:
	if error.is_empty():
		error = "line %d: %s" % [_text.substr(0, _at).count("\n") + 1, why]
	return null
