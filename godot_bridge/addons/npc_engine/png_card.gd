@tool
extends RefCounted
## The card inside a PNG: base64 JSON in a text chunk, [code]ccv3[/code] before [code]chara[/code],
## of two the last. The rest of the picture may be as damaged as it likes.
##
## After [method find] look at [member error].

const _SIGNATURE: PackedByteArray = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
const _MAX_KEYWORD := 80  # bytes, its NUL included
const _BASE64 := "^(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

## Why the last call failed; empty when it did not.
var error := ""

var _max_bytes := 0


## `max_bytes`: of the card's JSON.
func _init(max_bytes: int) -> void:
	_max_bytes = max_bytes


static func is_png(bytes: PackedByteArray) -> bool:
	return bytes.slice(0, 8) == _SIGNATURE


## Returns the bytes of the card's JSON.
func find(bytes: PackedByteArray) -> PackedByteArray:
	error = ""
	var found := {}
	var kind := ""
	var at := 8
	while kind != "IEND" and error.is_empty():
		if at + 12 > bytes.size() or at + 12 + _number(bytes, at) > bytes.size():
			error = "the picture breaks off at byte %d" % bytes.size()
			break
		var size := _number(bytes, at)
		kind = bytes.slice(at + 4, at + 8).get_string_from_ascii()
		if kind in ["tEXt", "zTXt", "iTXt"]:
			_note(bytes.slice(at + 4, at + 8 + size), _number(bytes, at + 8 + size), found)
		at += 12 + size
	if error.is_empty() and found.is_empty():
		error = "there is no card in this picture"
	if not error.is_empty():
		return []
	return _decoded(_text_of(found["ccv3"] if found.has("ccv3") else found["chara"]))


## Keeps a chunk (its type and body) if it has a card.
func _note(chunk: PackedByteArray, sum: int, found: Dictionary) -> void:
	var head := chunk.slice(4, 4 + _MAX_KEYWORD)
	var end := head.find(0)
	if end < 0:
		end = head.size()
	var keyword := head.slice(0, end).get_string_from_ascii().to_lower()
	if keyword != "ccv3" and keyword != "chara":
		return
	if _crc32(chunk) != sum:
		error = "the card in this picture is damaged"
	found[keyword] = [chunk.slice(0, 4).get_string_from_ascii(), chunk.slice(5 + end)]


## The text behind a chunk's keyword (PNG specification, 11.3.3).
func _text_of(chunk: Array) -> PackedByteArray:
	var rest: PackedByteArray = chunk[1]
	match chunk[0]:
		"zTXt":
			return _inflated(rest.slice(1))
		"iTXt":
			var language := rest.find(0, 2)
			var title := rest.find(0, language + 1) if language >= 0 else -1
			var text := rest.slice(title + 1) if title >= 0 else PackedByteArray()
			return _inflated(text) if rest.size() > 0 and rest[0] == 1 else text
	return rest


func _inflated(bytes: PackedByteArray) -> PackedByteArray:
	var text := PackedByteArray()
	# The first two bytes of zlib's format: asked, since Godot fills the log where they are wrong.
	var head := bytes[0] << 8 | bytes[1] if bytes.size() > 6 else 0
	if head & 0x8F20 == 0x0800 and head % 31 == 0:
		# decompress_dynamic never ends where more follows behind the end.
		text = bytes.decompress(2 * _max_bytes, FileAccess.COMPRESSION_DEFLATE)
	if text.is_empty() or _adler32(text) != _number(bytes, bytes.size() - 4):
		error = "the card in this picture is damaged"
	return text


func _decoded(bytes: PackedByteArray) -> PackedByteArray:
	if not error.is_empty():
		return []
	var text := bytes.get_string_from_ascii()
	for blank: String in [" ", "\t", "\r", "\n"]:
		text = text.replace(blank, "")
	if bytes.has(0) or RegEx.create_from_string(_BASE64).search(text) == null:
		error = "the card in this picture is not base64"
		return []
	var card := Marshalls.base64_to_raw(text)
	if card.size() > _max_bytes:
		error = "the card in this picture is too large"
	return card


static func _number(bytes: PackedByteArray, at: int) -> int:
	return bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]


## The sum at the end of zlib's format (RFC 1950).
static func _adler32(bytes: PackedByteArray) -> int:
	var low := 1
	var high := 0
	for byte in bytes:  # 64 bits have room for the sums of 32 MiB
		low += byte
		high += low
	return (high % 65521) << 16 | (low % 65521)


static func _crc32(bytes: PackedByteArray) -> int:
	var table: PackedInt64Array = []
	for n in 256:
		var entry := n
		for _i in 8:
			entry = (entry >> 1) ^ (0xEDB88320 if entry & 1 else 0)
		table.append(entry)
	var sum := 0xFFFFFFFF
	for byte in bytes:
		sum = table[(sum ^ byte) & 0xFF] ^ (sum >> 8)
	return sum ^ 0xFFFFFFFF
