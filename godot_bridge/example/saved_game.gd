extends RefCounted
## What the game itself saves, beside the slot with the characters: a small JSON file.
##
## Players exchange saves, and a [ConfigFile] or a [Resource] may hold scripts: JSON cannot.

## Where the player stands.
var position := Vector2.ZERO
## Whether the player holds a sword.
var has_sword := false
## The greetings that are still to be said, by the name of the character.
var greetings := {}


## Writes the file.
func write(path: String) -> Error:
	var file := FileAccess.open(path, FileAccess.WRITE)
	if file == null:
		return FileAccess.get_open_error()
	var place := [position.x, position.y]
	var all := {"position": place, "has_sword": has_sword, "greetings": greetings}
	file.store_string(JSON.stringify(all, "\t"))
	return file.get_error()


## Reads the file; returns false if there is none, or it is damaged.
func read(path: String) -> bool:
	var json := JSON.new()
	if json.parse(FileAccess.get_file_as_string(path)) != OK or not json.data is Dictionary:
		return false
	var place: Variant = json.data.get("position")
	if not place is Array or place.size() != 2 or not place.all(_is_number):
		return false
	position = Vector2(place[0], place[1])
	has_sword = json.data.get("has_sword") is bool and json.data["has_sword"]
	greetings = NPCAnswer.map_of(json.data, "greetings")
	return true


static func _is_number(value: Variant) -> bool:
	return value is float and is_finite(value)
