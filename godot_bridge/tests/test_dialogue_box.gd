extends "res://tests/input_case.gd"
## The balloon, with a character that says what the test wants: no engine runs.

const _SLOW := 0.001

var _box: NPCDialogueBox
var _mara: FakeCharacter
var _log: PackedStringArray = []


## Notes what is asked of it; the test answers.
class FakeCharacter:
	extends NPCCharacter
	var asked: Array = []

	func say(text: String, _notes: PackedStringArray = [], speaker := "Player") -> NPCReply:
		asked.append(["say", text, speaker])
		reply = NPCReply.new()
		return reply

	func hear(text: String, _speaker := "Player") -> NPCAnswer:
		asked.append(["hear", text])
		return NPCAnswer.new()

	func attend() -> NPCAnswer:
		asked.append(["attend"])
		return NPCAnswer.new()

	func interrupt(heard_chars := -1) -> NPCAnswer:
		asked.append(["interrupt", heard_chars])
		return NPCAnswer.new()


func before() -> void:
	_mara = FakeCharacter.new()
	_mara.engine = make_engine()
	_mara.npc = "mara"
	_mara.display_name = "Mara"
	add_child(_mara)
	_box = NPCDialogueBox.new()
	_box.letters_per_second = 0.0
	add_child(_box)
	_box.reply_shown.connect(func() -> void: _log.append("shown"))
	_box.interrupted.connect(func(heard: int) -> void: _log.append("interrupted %d" % heard))
	_box.failed.connect(func(error: NPCError) -> void: _log.append("failed " + error.code))
	_box.opened.connect(func(who: NPCCharacter) -> void: _log.append("opened " + who.npc))
	_box.closed.connect(func() -> void: _log.append("closed"))
	_box.player_spoke.connect(func(words: String) -> void: _log.append("player " + words))


func test_a_reply_is_shown_as_it_comes() -> void:
	_box.talk_to(_mara)
	_box.say("  Who are you? ")
	equal(_mara.asked, [["attend"], ["say", "Who are you?", "Player"]])
	check(_box.is_speaking and _shown_text() == "", "it has begun")
	await frames(4)
	equal(_shown_text(), "\u2026", "it is waited for")
	_record("line", "I am Mara.")
	_record("gesture", "nods")
	await frames(4)
	equal([_shown_text(), _box.heard], ["I am Mara. *nods*", 10])
	check(_box.is_speaking, "more may come")
	_record("line", "[b]Sit[/b]\ndown.")
	await frames(4)
	_finish()
	await frames(4)
	equal(_shown_text(), "I am Mara. *nods* [b]Sit[/b] down.", "no markup, one paragraph")
	equal(
		[_log, _box.is_speaking], [_logged(["opened mara", "player Who are you?", "shown"]), false]
	)
	_box.barge_in()
	equal(_log.size(), 3, "there is nothing to cut short")


func test_a_long_reply_scrolls_with_its_words() -> void:
	var label: RichTextLabel = _box.find_children("*", "RichTextLabel", true, false)[0]
	_box.letters_per_second = _SLOW
	await _speak("She has more to tell than the balloon has room for. ".repeat(20))
	equal(label.get_v_scroll_bar().value, 0.0, "at the first words")
	_box.skip()
	await frames(4)
	check(label.get_v_scroll_bar().value > 100.0, "at the last words")


func test_cutting_in_tells_what_was_shown() -> void:
	await _speak("One two.")
	_box.letters_per_second = _SLOW
	_record("line", "Three four.")
	await frames(4)
	_box.cut_in_or_leave()
	equal(_mara.asked[-1], ["interrupt", 8])
	equal([_box.is_speaking, _box.is_open, _box.text], [false, true, "One two."])
	check(
		_shown_text().begins_with("One two.") and _shown_text().ends_with("\u2014"), _shown_text()
	)
	_record("line", "Five.")
	_finish()
	await frames(4)
	equal([_box.text, _log[-1]], ["One two.", "interrupted 8"], "what comes late is not shown")
	_box.cut_in_or_leave()
	equal([_box.is_open, _log[-1]], [false, "closed"])


func test_saying_something_cuts_in_after_the_end_of_a_reply_too() -> void:
	_box.talk_to(_mara)
	_box.letters_per_second = _SLOW
	_box.say("Tell me all.")
	var first := _mara.reply
	_record("line", "All.")
	_finish()
	await frames(4)
	check(_box.is_speaking, "not all is shown")
	_box.say("Never mind.")
	equal(_mara.asked.slice(-2), [["interrupt", 0], ["say", "Never mind.", "Player"]])
	first.take_record({"type": "line", "text": "Late."})
	equal(_box.text, "")


func test_leaving_cuts_in() -> void:
	await _speak("One.")
	_box.close()
	equal(
		[_mara.asked[-1], _log.slice(-2)], [["interrupt", 4], _logged(["interrupted 4", "closed"])]
	)
	_box.close()
	equal(_log.count("closed"), 1)


func test_an_opening_is_shown_and_cut_without_a_word_to_the_engine() -> void:
	_box.letters_per_second = _SLOW
	_box.talk_to(_mara, null, "Boots on the mat, please.")
	await frames(4)
	check(_box.is_speaking, "it is being shown")
	_box.barge_in()
	equal([_mara.asked, _box.is_speaking], [[["attend"]], false])
	_box.talk_to(_mara, null, "Boots.")
	_box.skip()
	await frames(4)
	equal([_shown_text(), _box.heard], ["Boots.", 6])


func test_no_reply_shows_the_canned_line() -> void:
	_box.canned_line = "She looks away."
	_box.talk_to(_mara)
	_box.say("Hello?")
	_mara.reply.finish({}, NPCError.make("connection_lost", "Gone.", "Wait."))
	await frames(4)
	equal(
		[_shown_text(), _log.slice(-2)],
		["She looks away.", _logged(["failed connection_lost", "shown"])]
	)
	_box.say("Hello again?")
	_record("line", "I was")
	_mara.reply.finish({}, NPCError.make("connection_lost", "Gone.", "Wait."))
	await frames(4)
	equal(_shown_text(), "I was", "what has come stays")
	_box.say("And now?")
	_finish()
	await frames(4)
	equal([_shown_text(), _log[-1]], ["She looks away.", "shown"], "a reply without a word")


func test_choices_and_typing() -> void:
	_box.choices = ["Who are you?", "Goodbye."]
	_box.talk_to(_mara)
	await frames(4)
	var buttons := _box.find_children("*", "Button", true, false).filter(_is_choice)
	equal(
		buttons.map(func(button: Button) -> String: return button.text).slice(0, 2),
		["Who are you?", "Goodbye."]
	)
	(buttons[1] as Button).pressed.emit()
	equal(_mara.asked[-1], ["say", "Goodbye.", "Player"])
	var field: LineEdit = _box.find_children("*", "LineEdit", true, false)[0]
	check(field.has_focus(), "the keyboard types")
	for letter in "Hi":
		send_key(KEY_NONE, true, letter.unicode_at(0))
	await frames(4)
	equal([field.text, _mara.asked[-1]], ["Hi", ["hear", "Hi"]])
	await tap(KEY_ENTER)
	equal([field.text, _mara.asked[-1]], ["", ["say", "Hi", "Player"]])
	await tap(KEY_ENTER)
	equal(_mara.asked[-1], ["interrupt", 0], "return with nothing typed cuts in")
	_box.choices = []
	_box.free_text = false
	check(not field.is_visible_in_tree(), "no field")


func test_the_key_that_opens_it_types_nothing_while_it_is_held() -> void:
	_box.talk_to(_mara)
	var field: LineEdit = _box.find_children("*", "LineEdit", true, false)[0]
	for letter: Array in [[KEY_E, "e", true], [KEY_H, "h", false], [KEY_H, "h", true]]:
		var event := InputEventKey.new()
		event.keycode = letter[0]
		event.unicode = str(letter[1]).unicode_at(0)
		event.pressed = true
		event.echo = letter[2]
		Input.parse_input_event(event)
	await frames(2)
	equal(field.text, "hh")


func test_escape_cuts_in_and_leaves_while_typing() -> void:
	await _speak("One.")
	await tap(KEY_ESCAPE)
	equal([_box.is_open, _log[-1]], [true, "interrupted 4"])
	await tap(KEY_ESCAPE)
	equal(_box.is_open, false)


func test_a_gamepad_chooses() -> void:
	_box.choices = ["Who are you?"]
	await press_button(JOY_BUTTON_X)
	_box.talk_to(_mara)
	await press_button(JOY_BUTTON_A)
	equal(_mara.asked[-1], ["say", "Who are you?", "Player"], "A chooses")
	await press_button(JOY_BUTTON_B)
	equal([_box.is_open, _box.is_speaking], [true, false], "B cuts in")
	await press_button(JOY_BUTTON_B)
	equal(_box.is_open, false, "B leaves")


func test_a_click_cuts_in() -> void:
	await _speak("One.")
	var text: Control = _box.find_children("*", "RichTextLabel", true, false)[0]
	await click(text.get_global_rect().get_center())
	equal(_log[-1], "interrupted 4")


func test_it_closes_with_its_character_and_in_a_handler() -> void:
	_box.player_spoke.connect(func(_words: String) -> void: _box.close())
	_box.talk_to(_mara)
	_box.say("Goodbye.")
	equal([_mara.asked, _box.is_open], [[["attend"]], false], "a game may answer by itself")
	_box.talk_to(_mara)
	_mara.free()
	equal([_box.is_open, _log[-1]], [false, "closed"])
	_box.say("Anybody?")
	equal(_box.is_speaking, false)


func test_a_theme_of_the_game_wins() -> void:
	check(_box.theme != null, "it has one of its own")
	var parent := Control.new()
	parent.theme = Theme.new()
	parent.theme.set_stylebox("panel", "NPCDialogueBox", StyleBoxEmpty.new())
	add_child(parent)
	var box := NPCDialogueBox.new()
	parent.add_child(box)
	check(box.theme == null, "the one of the parent is kept")


func test_names() -> void:
	equal(NPCDialogueBox.name_of(_mara), "Mara")
	_mara.display_name = ""
	_mara.card_file = "res://example/characters/bram.toml"
	equal(NPCDialogueBox.name_of(_mara), "Bram", "the nickname of the card")
	_mara.card_file = ""
	_mara.name = "Innkeeper"
	equal(NPCDialogueBox.name_of(_mara), "Innkeeper")


## The balloon is open, and the character has begun to speak.
func _speak(line: String) -> void:
	_box.talk_to(_mara)
	_box.say("Hello.")
	_record("line", line)
	await frames(4)


func _record(type: String, text: String) -> void:
	_mara.reply.take_record({"type": type, "text": text})


func _finish() -> void:
	_mara.reply.finish({"type": "done", "reason": "stop"})


func _shown_text() -> String:
	var label: RichTextLabel = _box.find_children("*", "RichTextLabel", true, false)[0]
	return label.get_parsed_text()


static func _is_choice(button: Button) -> bool:
	return button.theme_type_variation == &"NPCDialogueChoice" and button.name != &"Send"


static func _logged(lines: Array) -> PackedStringArray:
	return PackedStringArray(lines)
