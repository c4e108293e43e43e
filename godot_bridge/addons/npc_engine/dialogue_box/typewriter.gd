extends RefCounted
## What of a reply the player has seen: it comes in lines and gestures, and shows letter by letter.
##
## It knows no node and no engine. A letter is a Unicode code point, as in the protocol.
## [br]Rule 1: What is shown stays shown, until [method clear].
## [br]Rule 2: [member heard] counts the letters of lines alone, and nothing between them.

## What is shown between two pieces.
const GAP := " "

## All that has come, in one line.
var text := ""
## How many letters of [member text] are shown.
var n_shown: int:
	get:
		return int(_shown)
## Whether nothing is left to be shown.
var is_all_shown: bool:
	get:
		return n_shown >= text.length()
## How many letters of the lines are shown: what [method NPCCharacter.interrupt] wants to know.
var heard: int:
	get:
		var sum := 0
		for piece in _pieces:
			if piece.is_line:
				sum += clampi(n_shown - piece.from, 0, piece.text.length())
		return sum

var _shown := 0.0
var _pieces: Array[Piece] = []


## A line or a gesture, and where in the text it begins.
class Piece:
	extends RefCounted
	var text := ""
	var is_line := true
	var from := 0


## Forgets everything.
func clear() -> void:
	text = ""
	_shown = 0.0
	_pieces.clear()


## Adds a sentence.
func add_line(line: String) -> void:
	_add(line, true)


## Adds a gesture; it is shown between asterisks.
func add_gesture(gesture: String) -> void:
	_add("*%s*" % gesture, false)


## Shows so many letters more.
func advance(letters: float) -> void:
	_shown = minf(_shown + maxf(letters, 0.0), text.length())


## Shows all that has come.
func skip() -> void:
	_shown = text.length()


## Drops what is not shown.
func cut() -> void:
	text = text.left(n_shown)
	_shown = text.length()
	for piece in _pieces:
		piece.text = piece.text.left(maxi(n_shown - piece.from, 0))
	_pieces.assign(_pieces.filter(func(piece: Piece) -> bool: return not piece.text.is_empty()))


## Calls `show` with the words of each piece and whether they are spoken.
func each(show: Callable) -> void:
	for piece in _pieces:
		show.call(piece.text, piece.is_line)


## A line end would begin a new paragraph: the letter count stays the same with a space.
func _add(words: String, is_line: bool) -> void:
	var piece := Piece.new()
	piece.text = words.replace("\n", " ").replace("\t", " ").replace("\r", " ")
	piece.is_line = is_line
	if not text.is_empty():
		text += GAP
	piece.from = text.length()
	text += piece.text
	_pieces.append(piece)
