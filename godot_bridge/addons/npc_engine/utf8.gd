@tool
extends RefCounted
## Whether bytes are text: asked before Godot reads them, since it fills the log with complaints.

const _ONES := 0x0101010101010101
const _HIGH_BITS := -0x7F7F7F7F7F7F7F80  # 0x80 in each byte
const _LEAST: PackedInt32Array = [0x80, 0x800, 0x10000]


## Whether `bytes` are UTF-8 that a Godot [String] can hold: NUL is none.
static func is_valid(bytes: PackedByteArray) -> bool:
	return bad_at(bytes) < 0


## Returns where `bytes` are no such text, or -1.
static func bad_at(bytes: PackedByteArray) -> int:
	var i := 0
	var n := bytes.size()
	while i + 8 <= n:  # plain ASCII, eight letters at a time
		var eight := bytes.decode_u64(i)
		if ((eight - _ONES) | eight) & _HIGH_BITS != 0:
			break
		i += 8
	while i < n:
		var lead := bytes[i]
		i += 1
		if lead > 0 and lead < 0x80:
			continue
		var n_more := 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
		if lead < 0xC2 or lead > 0xF4 or i + n_more > n:
			return i - 1
		var code := lead & (0x3F >> n_more)
		for _k in n_more:
			if bytes[i] & 0xC0 != 0x80:
				return i
			code = code << 6 | bytes[i] & 0x3F
			i += 1
		if code < _LEAST[n_more - 1] or code > 0x10FFFF or (code >= 0xD800 and code < 0xE000):
			return i - 1
	return -1


## Returns the text that `bytes` are, or null for none.
static func text_of(bytes: PackedByteArray) -> Variant:
	return bytes.get_string_from_utf8() if is_valid(bytes) else null
