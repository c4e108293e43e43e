extends "res://tests/case.gd"
## The codec against the golden vectors that Python writes, and against bytes that are none.

const Msgpack := preload("res://addons/npc_engine/msgpack.gd")
const N_MUTATIONS := 5000

var _codec := Msgpack.new()


## The vectors lie beside this project in the repository.
static func vectors() -> String:
	return ProjectSettings.globalize_path("res://").path_join("../tests/vectors")


static func frames() -> Dictionary[String, PackedByteArray]:
	var found: Dictionary[String, PackedByteArray] = {}
	for file in DirAccess.get_files_at(vectors()):
		if file.ends_with(".msgpack"):
			found[file.get_basename()] = FileAccess.get_file_as_bytes(vectors().path_join(file))
	return found


func test_every_vector_is_read_and_written() -> void:
	var n_read := 0
	for title: String in frames():
		var frame := frames()[title]
		var value: Variant = _codec.decode(frame)
		check(_codec.error.is_empty(), "%s: %s" % [title, _codec.error])
		var text := FileAccess.get_file_as_string(vectors().path_join(title + ".json"))
		if not title.ends_with("int64"):
			check(_same(value, JSON.parse_string(text)), "%s is read as %s" % [title, value])
		var again := _codec.encode(value)
		equal(_codec.decode(again), value, title)
		if not title.ends_with("wide") and not title.ends_with("int64"):
			equal(again, frame, title)
		n_read += 1
	check(n_read >= 70, "there are vectors: %d" % n_read)


func test_integers_of_64_bits() -> void:
	var numbers: Dictionary = _codec.decode(frames()["reply-stats-int64"])["stats"]
	check(-9223372036854775807 - 1 in numbers.values(), "the least: %s" % numbers)
	check(9223372036854775807 in numbers.values(), "the largest with a sign: %s" % numbers)
	check(18446744073709551615.0 in numbers.values(), "the largest of all: %s" % numbers)


func test_every_width_of_a_number() -> void:
	for exponent in 63:
		for number: int in [
			1 << exponent, (1 << exponent) - 1, -(1 << exponent), -(1 << exponent) - 1
		]:
			equal(_codec.decode(_codec.encode(number)), number, "2^%d" % exponent)
	equal(_codec.encode(-32).size(), 1)
	equal(_codec.encode(127).size(), 1)
	equal(_codec.encode(128).size(), 2)
	for number: float in [0.0, 0.5, -1e300, INF]:
		equal(_codec.decode(_codec.encode(number)), number)


func test_what_no_record_has() -> void:
	var bytes := PackedByteArray()
	for size: int in [0, 1, 255, 256, 65536]:
		bytes.resize(size)
		equal(_codec.decode(_codec.encode(bytes)), bytes, "bin")
		var ext := Msgpack.Ext.new()
		ext.type = -1
		ext.data = bytes
		var again: Msgpack.Ext = _codec.decode(_codec.encode(ext))
		equal([again.type, again.data], [-1, bytes], "ext")
	equal(_codec.decode(_codec.encode({1: &"a", true: PackedInt64Array([3])})), {1: "a", true: [3]})


func test_what_cannot_be_written() -> void:
	for value: Variant in [Vector2.ONE, self, {"a": [Color.RED]}, _nested(200)]:
		equal(_codec.encode(value), PackedByteArray())
		check(not _codec.error.is_empty(), "an error for %s" % type_string(typeof(value)))


func test_limits() -> void:
	check(_same(_codec.decode(_codec.encode(_nested(100))), _nested(100)), "100 levels")
	_codec.decode(PackedByteArray([0xDD, 0xFF, 0xFF, 0xFF, 0xFF]))
	check(not _codec.error.is_empty(), "four billion items in five bytes")
	var deep := PackedByteArray()
	deep.resize(100_000)
	deep.fill(0x91)
	_codec.decode(deep)
	check(_codec.error.contains("deep"), _codec.error)
	deep.fill(0xC0)
	_codec.decode(PackedByteArray([0xDD, 0, 1, 0x86, 0xA0]) + deep)
	check(_codec.error.is_empty(), _codec.error)


func test_frames_that_are_no_requests() -> void:
	var folder := vectors().path_join("invalid")
	for title: String in ["absurd-length", "not-utf8", "truncated", "trailing", "empty", "garbage"]:
		_codec.decode(FileAccess.get_file_as_bytes(folder.path_join(title + ".msgpack")))
		check(not _codec.error.is_empty(), "%s has an error" % title)
	for file in DirAccess.get_files_at(folder):
		if file.ends_with(".msgpack"):
			_codec.decode(FileAccess.get_file_as_bytes(folder.path_join(file)))


func test_mutated_frames() -> void:
	var random := RandomNumberGenerator.new()
	random.seed = 7
	var originals := frames().values()
	var n_read := 0
	for i in N_MUTATIONS:
		var value: Variant = _codec.decode(mutated(originals[i % originals.size()], random))
		if _codec.error.is_empty():
			n_read += 1
			equal(_same(_codec.decode(_codec.encode(value)), value), true, "a mutated frame")
	check(n_read > 100 and n_read < N_MUTATIONS - 100, "some can be read: %d" % n_read)


## Flips bytes, cuts, doubles: one to four times.
static func mutated(frame: PackedByteArray, random: RandomNumberGenerator) -> PackedByteArray:
	var bytes := frame.duplicate()
	for _i in random.randi_range(1, 4):
		var at := random.randi() % maxi(bytes.size(), 1)
		match random.randi() % 4:
			0:
				bytes = bytes.slice(0, at)
			1:
				bytes = bytes.slice(0, at) + bytes.slice(maxi(at - 9, 0))
			_:
				if not bytes.is_empty():
					bytes[at] = random.randi() & 0xFF
	return bytes


static func _nested(depth: int) -> Array:
	var value := []
	for _i in depth:
		value = [value]
	return value


## Equal by value: 1 and 1.0 are, and so are two that are no numbers. Godot's JSON reader errs in
## the last digits of a float; that all bits are right shows in the frame that is written.
static func _same(a: Variant, b: Variant) -> bool:
	if a is Dictionary and b is Dictionary:
		for key: Variant in a:
			if not b.has(key) or not _same(a[key], b[key]):
				return false
		return a.size() == b.size()
	if a is Array and b is Array:
		for i in mini(a.size(), b.size()):
			if not _same(a[i], b[i]):
				return false
		return a.size() == b.size()
	if a is Msgpack.Ext and b is Msgpack.Ext:
		return a.type == b.type and a.data == b.data
	if (a is float or a is int) and (b is float or b is int):
		return a == b or is_nan(a) and is_nan(b) or absf(a - b) <= 1e-12 * absf(a) + 1e-300
	return typeof(a) == typeof(b) and a == b
