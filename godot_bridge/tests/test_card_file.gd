extends "res://tests/case.gd"
## Card files: what is read, and what is told about those that are none.

const CardFile := preload("res://addons/npc_engine/card_file.gd")
const PngCard := preload("res://addons/npc_engine/png_card.gd")
const Toml := preload("res://addons/npc_engine/toml.gd")

const SAMPLE := """# a card
name = "Mara \\u00e9 \\"x\\""
n = 1_000 # a number
x = -0.5e1
yes = true
raw = 'C:\\path'
long = \"\"\"\\
  one \\
  two
three\"\"\"
lit = '''
a\\nb'''
list = ["a", # b
  "c",
]
point = { x = 1, y.z = 2 }
a."b c".d = 1
[table]
k = 1
[table.inner]
k = 2
[[items]]
k = 3
[[items]]
k = 4
"""

var _cards := CardFile.new()
var _toml := Toml.new()


static func png_of(chunks: Dictionary) -> PackedByteArray:
	var bytes := PackedByteArray([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
	for keyword: String in chunks:
		var body := keyword.to_ascii_buffer() + PackedByteArray([0])
		body += Marshalls.utf8_to_base64(chunks[keyword]).to_ascii_buffer()
		bytes += chunk_of("tEXt", body)
	return bytes + chunk_of("IEND", [])


static func chunk_of(kind: String, body: PackedByteArray) -> PackedByteArray:
	var chunk := kind.to_ascii_buffer() + body
	var sum := PngCard._crc32(chunk)
	var sums := PackedByteArray([sum >> 24 & 0xFF, sum >> 16 & 0xFF, sum >> 8 & 0xFF, sum & 0xFF])
	return PackedByteArray([0, 0, body.size() >> 8, body.size() & 0xFF]) + chunk + sums


func test_json() -> void:
	var text := '{"name": "Mära", "n": 3, "x": 0.5, "big": 1e300, "list": [1, {"a": 2}]}'
	var card := _cards.parse(text.to_utf8_buffer(), "json")
	equal(card["name"], "Mära")
	equal(typeof(card["n"]), TYPE_INT, "a whole number stays one")
	equal(card["list"], [1, {"a": 2}])
	equal(typeof(card["big"]), TYPE_FLOAT)


func test_png() -> void:
	var both := png_of({"chara": '{"name": "Two"}', "ccv3": '{"name": "Three"}'})
	equal(_cards.parse(both, "png"), {"name": "Three"})
	equal(_cards.parse(png_of({"chara": '{"name": "Two"}'}), "png"), {"name": "Two"})


## The same files, and the same outcome, as in the engine's own tests and in C#.
func test_files_of_strangers() -> void:
	var folder := ProjectSettings.globalize_path("res://").path_join("../tests/vectors/cards")
	var expected: Dictionary = JSON.parse_string(
		FileAccess.get_file_as_string(folder.path_join("expected.json"))
	)
	check(expected.size() > 60, "all of them are there")
	for file: String in expected:
		var outcome: Dictionary = expected[file]
		var card := _cards.read(folder.path_join(file))
		if outcome.has("card"):
			equal(_cards.error, "", file)
			check(is_same_json(card, outcome["card"]), "%s: %s" % [file, str(card).left(200)])
			continue
		equal(card, {}, file)
		var words := "line %d" % outcome["line"] if outcome["line"] > 0 else ""
		check(not _cards.error.is_empty(), file)
		check(words.is_empty() or _cards.error.contains(words), "%s: %s" % [file, _cards.error])


## Whether they are alike; Godot has read `expected` itself, so all of its numbers are floats.
static func is_same_json(found: Variant, expected: Variant) -> bool:
	if found is Dictionary and expected is Dictionary:
		var alike := func(key: Variant) -> bool: return is_same_json(found[key], expected[key])
		return found.keys() == expected.keys() and found.keys().all(alike)
	if found is Array and expected is Array:
		var alike := func(i: int) -> bool: return is_same_json(found[i], expected[i])
		return found.size() == expected.size() and range(found.size()).all(alike)
	return found == expected


func test_whole_numbers_stay_exact() -> void:
	var text := '{"a": [9007199254740993, -9223372036854775807, 1.0, 9223372036854775808]}'
	var numbers: Array = _cards.parse(text.to_utf8_buffer(), "json")["a"]
	equal(numbers.slice(0, 3), [9007199254740993, -9223372036854775807, 1.0])
	equal(typeof(numbers[2]), TYPE_FLOAT)
	equal(typeof(numbers[3]), TYPE_FLOAT, "more than 64 bits")


func test_a_long_text_of_escapes_ends_in_time() -> void:
	limit_s = 20.0
	var text := '{"name": "%s"}' % "\\n".repeat(200000)
	equal(_cards.parse(text.to_utf8_buffer(), "json")["name"], "\n".repeat(200000))


func test_those_that_are_none() -> void:
	var bad := {
		"json": ["", "[]", "{", '{"a": }', "null"],
		"toml":
		["a", "a = ", "= 1", "a = 'x", "[a", "a = 1\na = 2", 'a = "\\q"', "a = [1", "a = x"],
		"png": ["", "no picture"],
		"charx": ["PK"],
	}
	for suffix: String in bad:
		for text: String in bad[suffix]:
			equal(_cards.parse(text.to_utf8_buffer(), suffix), {}, text)
			check(not _cards.error.is_empty(), "an error for '%s'" % text)
	for png: PackedByteArray in [png_of({}), png_of({"other": "{}"}), png_of({"chara": "["})]:
		equal(_cards.parse(png, "png"), {})
		check(not _cards.error.is_empty(), "an error for a picture")
	equal(_cards.read("res://no-such.json"), {})
	check(not _cards.error.is_empty(), "no such file")


func test_damaged_pictures() -> void:
	var whole := png_of({"chara": '{"name": "Two"}'})
	for i in whole.size():
		_cards.parse(whole.slice(0, i), "png")
		var changed := whole.duplicate()
		changed[i] = 0xFF
		_cards.parse(changed, "png")


func test_toml() -> void:
	var card := _toml.parse(SAMPLE)
	equal(_toml.error, "")
	equal(
		card,
		{
			"name": 'Mara é "x"',
			"n": 1000,
			"x": -5.0,
			"yes": true,
			"raw": "C:\\path",
			"long": "one two\nthree",
			"lit": "a\\nb",
			"list": ["a", "c"],
			"point": {"x": 1, "y": {"z": 2}},
			"a": {"b c": {"d": 1}},
			"table": {"k": 1, "inner": {"k": 2}},
			"items": [{"k": 3}, {"k": 4}],
		}
	)
	equal(_toml.parse("a = 1\r\nb = 'x'\r\n"), {"a": 1, "b": "x"})


func test_toml_errors_name_the_line() -> void:
	_toml.parse("a = 1\nb = \n")
	check(_toml.error.begins_with("line 2"), _toml.error)


func test_toml_that_is_mutated_ends() -> void:
	var folder := ProjectSettings.globalize_path("res://").path_join("../examples/characters")
	var text := FileAccess.get_file_as_string(folder.path_join("mara.toml"))
	check(not _toml.parse(text).is_empty(), "our own card: %s" % _toml.error)
	var random := RandomNumberGenerator.new()
	random.seed = 3
	for _i in 40:
		var at := random.randi() % text.length()
		_toml.parse(
			text.substr(0, at) + "\"'[]{}=.\\\n"[random.randi() % 10] + text.substr(at + 1, 200)
		)
	_toml.parse("a = " + "[".repeat(5000))
	check(_toml.error.contains("deep"), _toml.error)
