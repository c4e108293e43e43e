class_name NPCScene
extends NPCAnswer
## Characters who talk with each other: what [method NPCEngine.scene] returns.
##
## The characters' own signals come, too: a balloon over each head needs nothing else.

## A character has said a sentence. [param npc] is its [member NPCCharacter.npc].
signal line_spoken(npc: String, line: String)
## A character makes a gesture.
signal gesture(npc: String, text: String)
## A piece of a turn as it is decoded. Only for scenes with [code]stream_text[/code].
signal text_streamed(npc: String, text: String)
## A character has ended its turn. [param turn] is its number, for [method NPCCharacter.pin_turn].
signal turn_ended(npc: String, text: String, turn: int)

## The turns that are over, each a [Dictionary] with [code]npc[/code], [code]text[/code] and
## [code]turn[/code].
var turns: Array[Dictionary] = []
## Why the scene is over: [code]turns[/code] (all of them were spoken), [code]alone[/code] (fewer
## than two are left), [code]cancelled[/code] or [code]slow_client[/code]. Empty before that.
var reason: String:
	get:
		return text_of(reply, "reason")
## For the addon: gets each record too, to hand it to the character it belongs to.
var on_record := Callable()
## For the addon: posts a request to the engine that plays the scene.
var on_request := Callable()


## Ends the scene. [param heard_chars] is how many characters of its lines reached the player,
## summed over all of them in their order, nothing between them; later words count as never said.
## -1: all of them did.
func interrupt(heard_chars := -1) -> NPCAnswer:
	var keys := {"target": id}
	if heard_chars >= 0:
		keys["heard"] = heard_chars
	var answer: NPCAnswer = on_request.call("cancel", keys)
	# A scene that nobody holds any more would take this call with it.
	@warning_ignore("unused_variable")
	var kept := self
	return await answer.completed()


func take_record(record: Dictionary) -> void:
	var npc := text_of(record, "npc")
	var words := text_of(record, "text")
	if on_record.is_valid():
		on_record.call(npc, record)
	match text_of(record, "type"):
		"line":
			line_spoken.emit(npc, words)
		"gesture":
			gesture.emit(npc, words)
		"text":
			text_streamed.emit(npc, words)
		"turn":
			var number := int_of(record, "turn")
			turns.append({"npc": npc, "text": words, "turn": number})
			turn_ended.emit(npc, words, number)
