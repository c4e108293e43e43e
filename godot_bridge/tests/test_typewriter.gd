extends "res://tests/case.gd"
## What is shown of a reply, and what of that the player has heard.

const Typewriter := preload("res://addons/npc_engine/dialogue_box/typewriter.gd")

var _words := Typewriter.new()


func test_letters_of_lines_are_heard_and_no_others() -> void:
	_words.add_line("I am Mara.")
	_words.add_gesture("sits")
	_words.add_line("Sit down.")
	equal(_words.text, "I am Mara. *sits* Sit down.")
	for row: Array in [[0, 0], [4, 4], [10, 10], [11, 10], [15, 10], [18, 10], [21, 13], [99, 19]]:
		_words.advance(row[0] - _words.n_shown)
		equal(_words.heard, row[1], "after %d letters" % row[0])
	check(_words.is_all_shown, "all is shown")


func test_cut_keeps_what_is_shown() -> void:
	_words.add_line("I am Mara.")
	_words.add_line("Sit down.")
	_words.advance(14.9)
	_words.cut()
	equal([_words.text, _words.heard, _words.is_all_shown], ["I am Mara. Sit", 13, true])
	_words.add_line("You.")
	equal([_words.text, _words.heard], ["I am Mara. Sit You.", 13])
	_words.skip()
	equal(_words.heard, 17)
	_words.clear()
	equal([_words.text, _words.heard, _words.n_shown], ["", 0, 0])


func test_cut_before_and_between_lines() -> void:
	_words.add_line("One.")
	_words.add_line("Two.")
	_words.advance(5.0)
	_words.cut()
	var pieces: PackedStringArray = []
	_words.each(func(words: String, _is_line: bool) -> void: pieces.append(words))
	equal([pieces, _words.heard], [PackedStringArray(["One."]), 4])
	_words.clear()
	_words.add_line("Never.")
	_words.cut()
	equal([_words.text, _words.heard], ["", 0])


func test_letters_are_code_points_and_keep_their_number() -> void:
	_words.add_line("A\nb\t\U01F33Cé")
	_words.advance(100.0)
	equal([_words.heard, _words.text], [6, "A b \U01F33Cé"])
	_words.advance(-3.0)
	equal(_words.n_shown, 6)
