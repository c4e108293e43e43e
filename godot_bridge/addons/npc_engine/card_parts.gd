@tool
extends RefCounted
## What of a card goes to the engine, and which part of a request is the largest.
##
## What no engine reads (pictures in [code]assets[/code], notes, books) may be megabytes, and a
## message may not. What is small goes along, so that a misspelt field is told of.

## What an engine reads, also by the names of older tools.
const READ: PackedStringArray = [
	"spec",
	"spec_version",
	"name",
	"nickname",
	"description",
	"personality",
	"scenario",
	"first_mes",
	"mes_example",
	"system_prompt",
	"post_history_instructions",
	"alternate_greetings",
	"tags",
	"char_name",
	"persona",
	"char_persona",
	"char_greeting",
	"world_scenario",
	"example_dialogue",
]
## Most bytes of a value that no engine reads.
const MAX_UNREAD := 64 << 10


## Returns a card as it is sent.
static func to_send(card: Dictionary) -> Dictionary:
	var sent := {}
	for key: Variant in card:
		var value: Variant = card[key]
		if str(key) == "data" and value is Dictionary:
			sent[key] = to_send(value)
		elif str(key) in READ or str(key) == "data" or _size(value) <= MAX_UNREAD:
			sent[key] = value
	return sent


## Returns where most of a request is, such as [code]card.data.description[/code].
static func heaviest(request: Dictionary) -> String:
	var path: PackedStringArray = []
	var at: Variant = request
	var least := _size(request) / 4.0
	while at is Dictionary and not at.is_empty() and path.size() < 8:
		var largest: Variant = null
		var most := -1
		for key: Variant in at:
			var size := _size(at[key])
			if size > most:
				largest = key
				most = size
		if most < least:
			break
		path.append(str(largest).left(64))
		at = at[largest]
	return ".".join(path)


static func _size(value: Variant) -> int:
	return var_to_bytes(value).size()
