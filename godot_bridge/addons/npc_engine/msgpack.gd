# gdlint: disable=max-returns
@tool
extends RefCounted
## MessagePack: values to bytes and back (https://github.com/msgpack/msgpack/blob/master/spec.md).
##
## It knows no socket and no message. After [method encode] and [method decode] look at
## [member error]: any value and any bytes give a result or an error, and nothing else.
## [br][br]
## Numbers: a Godot [int] has 64 bits with a sign; a larger one on the wire becomes a [float].
## Floats are written with 64 bits. What belongs to no Godot type (ext) comes as an [Ext].

const Utf8 := preload("utf8.gd")

## How deep a value may be nested.
const MAX_DEPTH := 128
## How many values one message may hold, so that a few bytes never ask for gigabytes.
const MAX_ITEMS := 1_000_000

const _CUT_SHORT := "it is cut short"
const _OVER_INT64 := 18446744073709551616.0

## Why the last call failed; empty when it did not.
var error := ""

var _bytes := PackedByteArray()
var _at := 0
var _n_items := 0
var _out: StreamPeerBuffer


## A value of a type that MessagePack leaves to its users, such as a timestamp (type -1).
class Ext:
	extends RefCounted
	## The number of the type, -128 to 127.
	var type := 0
	## The value.
	var data := PackedByteArray()


## Returns [param value] as bytes; none, and an [member error], for what MessagePack cannot say.
func encode(value: Variant) -> PackedByteArray:
	error = ""
	_out = StreamPeerBuffer.new()
	_out.big_endian = true
	_write(value, 0)
	return _out.data_array if error.is_empty() else PackedByteArray()


## Returns the value that [param bytes] stand for; null, and an [member error], if for none.
func decode(bytes: PackedByteArray) -> Variant:
	error = ""
	_bytes = bytes
	_at = 0
	_n_items = 0
	var value: Variant = _read(0)
	if error.is_empty() and _at != bytes.size():
		error = "%d bytes follow it" % (bytes.size() - _at)
	_bytes = PackedByteArray()
	return value if error.is_empty() else null


func _write(value: Variant, depth: int) -> void:
	if depth > MAX_DEPTH:
		error = "it is nested deeper than %d levels" % MAX_DEPTH
		return
	match typeof(value):
		TYPE_NIL:
			_out.put_u8(0xC0)
		TYPE_BOOL:
			_out.put_u8(0xC3 if value else 0xC2)
		TYPE_INT:
			_write_int(value)
		TYPE_FLOAT:
			_out.put_u8(0xCB)
			_out.put_double(value)
		TYPE_STRING, TYPE_STRING_NAME, TYPE_NODE_PATH:
			_write_bytes(str(value).to_utf8_buffer(), 0xA0, 32, [0xD9, 0xDA, 0xDB])
		TYPE_PACKED_BYTE_ARRAY:
			_write_bytes(value, 0, 0, [0xC4, 0xC5, 0xC6])
		TYPE_DICTIONARY:
			_write_map(value, depth)
		_:
			_write_other(value, depth)


func _write_other(value: Variant, depth: int) -> void:
	var type := typeof(value)
	if type == TYPE_ARRAY or type in range(TYPE_PACKED_INT32_ARRAY, TYPE_PACKED_STRING_ARRAY + 1):
		var items := Array(value)
		_write_count(items.size(), 0x90, 16, [0, 0xDC, 0xDD])
		for item: Variant in items:
			_write(item, depth + 1)
	elif type == TYPE_OBJECT and value is Ext:
		_write_ext(value)
	else:
		error = "a %s cannot be sent, only text, numbers, lists and maps" % type_string(type)


func _write_int(value: int) -> void:
	if value >= 0:
		_write_count(value, 0, 128, [0xCC, 0xCD, 0xCE])
	elif value >= -32:
		_out.put_8(value)
	elif value >= -128:
		_out.put_u8(0xD0)
		_out.put_8(value)
	elif value >= -32768:
		_out.put_u8(0xD1)
		_out.put_16(value)
	elif value >= -2147483648:
		_out.put_u8(0xD2)
		_out.put_32(value)
	else:
		_out.put_u8(0xD3)
		_out.put_64(value)


func _write_map(map: Dictionary, depth: int) -> void:
	_write_count(map.size(), 0x80, 16, [0, 0xDE, 0xDF])
	for key: Variant in map:
		_write(key, depth + 1)
		_write(map[key], depth + 1)


func _write_bytes(bytes: PackedByteArray, fix: int, n_fix: int, leads: Array[int]) -> void:
	_write_count(bytes.size(), fix, n_fix, leads)
	if not bytes.is_empty():
		_out.put_data(bytes)


## The lead byte of a count: the short form below `n_fix`, else one of the leads for 1, 2, 4 bytes.
func _write_count(count: int, fix: int, n_fix: int, leads: Array[int]) -> void:
	if count < n_fix:
		_out.put_u8(fix | count)
	elif count < 0x100 and leads[0] > 0:
		_out.put_u8(leads[0])
		_out.put_u8(count)
	elif count < 0x10000:
		_out.put_u8(leads[1])
		_out.put_u16(count)
	elif count < 0x100000000:
		_out.put_u8(leads[2])
		_out.put_u32(count)
	else:
		_out.put_u8(0xCF)
		_out.put_u64(count)


func _write_ext(ext: Ext) -> void:
	var fixed := [1, 2, 4, 8, 16].find(ext.data.size())
	if fixed >= 0:
		_out.put_u8(0xD4 + fixed)
	else:
		_write_count(ext.data.size(), 0, 0, [0xC7, 0xC8, 0xC9])
	_out.put_8(ext.type)
	if not ext.data.is_empty():
		_out.put_data(ext.data)


func _read(depth: int) -> Variant:
	_n_items += 1
	if depth > MAX_DEPTH or _n_items > MAX_ITEMS or _at >= _bytes.size():
		return _fail_at(depth)
	var lead := _bytes[_at]
	_at += 1
	if lead < 0x80:
		return lead
	if lead >= 0xA0 and lead < 0xC0:
		return _read_text(lead & 0x1F)
	if lead >= 0xE0:
		return lead - 0x100
	if lead < 0x90:
		return _read_map(lead & 0x0F, depth)
	if lead < 0xA0:
		return _read_array(lead & 0x0F, depth)
	return _read_wide(lead, depth)


func _read_wide(lead: int, depth: int) -> Variant:
	match lead:
		0xC0:
			return null
		0xC2, 0xC3:
			return lead == 0xC3
		0xC4, 0xC5, 0xC6:
			return _take(_uint(1 << (lead - 0xC4)))
		0xC7, 0xC8, 0xC9:
			return _read_ext(_uint(1 << (lead - 0xC7)))
		0xCA, 0xCB:
			return _read_float(4 if lead == 0xCA else 8)
		0xCC, 0xCD, 0xCE:
			return _uint(1 << (lead - 0xCC))
		0xCF, 0xD0, 0xD1, 0xD2, 0xD3:
			return _read_long(lead)
		0xD4, 0xD5, 0xD6, 0xD7, 0xD8:
			return _read_ext(1 << (lead - 0xD4))
		0xD9, 0xDA, 0xDB:
			return _read_text(_uint(1 << (lead - 0xD9)))
		0xDC, 0xDD:
			return _read_array(_uint(2 << (lead - 0xDC)), depth)
		0xDE, 0xDF:
			return _read_map(_uint(2 << (lead - 0xDE)), depth)
	error = "the byte 0x%02x begins nothing" % lead
	return null


func _read_map(count: int, depth: int) -> Dictionary:
	var map := {}
	if _lacks(2 * count):
		return map
	for _i in count:
		var key: Variant = _read(depth + 1)
		if key is Array or key is Dictionary or key is Ext:
			error = "a key of a map is no plain value"
		if not error.is_empty():
			break
		map[key] = _read(depth + 1)
	return map


func _read_array(count: int, depth: int) -> Array:
	var items := []
	if _lacks(count):
		return items
	for _i in count:
		items.append(_read(depth + 1))
		if not error.is_empty():
			break
	return items


func _read_text(count: int) -> String:
	if _at + count > _bytes.size() or not error.is_empty():
		error = _CUT_SHORT
		return ""
	var bytes := _bytes.slice(_at, _at + count)
	_at += count
	if Utf8.is_valid(bytes):
		return bytes.get_string_from_utf8()
	error = "a text is not UTF-8"
	return ""


func _read_float(width: int) -> float:
	var bytes := _take(width)
	if not error.is_empty():
		return 0.0
	bytes.reverse()
	return bytes.decode_float(0) if width == 4 else bytes.decode_double(0)


## The integers that need a sign, and the one that may be too large for Godot.
func _read_long(lead: int) -> Variant:
	if lead == 0xCF:
		var number := _uint(8)
		return number if number >= 0 else float(number) + _OVER_INT64
	var width := 1 << (lead - 0xD0)
	var unsigned := _uint(width)
	var n_unused := 64 - 8 * width
	return unsigned << n_unused >> n_unused


func _read_ext(count: int) -> Ext:
	var ext := Ext.new()
	var type := _uint(1)
	ext.type = type if type < 128 else type - 256
	ext.data = _take(count)
	return ext


func _uint(width: int) -> int:
	if _at + width > _bytes.size():
		error = _CUT_SHORT
		return 0
	var number := 0
	for _i in width:
		number = number << 8 | _bytes[_at]
		_at += 1
	return number


func _take(count: int) -> PackedByteArray:
	if _at + count > _bytes.size() or not error.is_empty():
		error = _CUT_SHORT
		return PackedByteArray()
	_at += count
	return _bytes.slice(_at - count, _at)


## Whether fewer than `count` bytes are left, as many as that many values take at least.
func _lacks(count: int) -> bool:
	if _at + count > _bytes.size():
		error = _CUT_SHORT
	return not error.is_empty()


func _fail_at(depth: int) -> Variant:
	if depth > MAX_DEPTH:
		error = "it is nested deeper than %d levels" % MAX_DEPTH
	elif _n_items > MAX_ITEMS:
		error = "it holds more than %d values" % MAX_ITEMS
	else:
		error = _CUT_SHORT
	return null
