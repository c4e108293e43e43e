@tool
class_name NPCReply
extends NPCAnswer
## What a character says in answer to [method NPCCharacter.say], while it comes and when it is over.
##
## [codeblock]
## var reply: NPCReply = await $Mara.say("Who are you?").finished
## if reply.ok:
##     print(reply.text)
## [/codeblock]

## The first record of the reply has come.
signal started
## One spoken sentence, ready for a balloon or for speech.
signal line_spoken(line: String)
## A stage direction such as [code]nods[/code], without its asterisks.
signal gesture(text: String)
## A piece of the reply as it is decoded. Only with [member NPCCharacter.stream_text].
signal text_streamed(text: String)

## The lines that have come so far.
var lines := PackedStringArray()
## The gestures that have come so far.
var gestures := PackedStringArray()
## The reply as the character remembers it, gestures included: complete when the reply is over;
## before that, and after an error, the lines that came.
var text: String:
	get:
		return text_of(reply, "text", " ".join(lines))
## Why the reply is over: [code]stop[/code] (it was complete), [code]length[/code] (as many tokens
## as allowed), [code]cancelled[/code] or [code]slow_client[/code]. Empty before that.
var reason: String:
	get:
		return text_of(reply, "reason")
## Whether what was said to the character was too long and was cut.
var truncated: bool:
	get:
		return reply.get("truncated") is bool and reply["truncated"]
## The number of this turn, for [method NPCCharacter.pin_turn]; 0 if nothing was said.
var turn: int:
	get:
		return int_of(reply, "turn")
## Figures of the engine, such as [code]ttft_ms[/code], the milliseconds to the first token.
var stats: Dictionary:
	get:
		return map_of(reply, "stats")

var _is_started := false


func take_record(record: Dictionary) -> void:
	if is_finished:
		return
	if not _is_started:
		_is_started = true
		started.emit()
	var words := text_of(record, "text")
	match text_of(record, "type"):
		"line":
			lines.append(words)
			line_spoken.emit(words)
		"gesture":
			gestures.append(words)
			gesture.emit(words)
		"text":
			text_streamed.emit(words)
