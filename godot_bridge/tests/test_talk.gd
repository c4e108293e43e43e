# gdlint: disable=max-public-methods
extends "res://tests/case.gd"
## A game talks with characters of a real model, through everything that the protocol has.

const MODEL := "SmolLM2-135M-Instruct.Q4_1.gguf"
const CARDS := "../examples/characters"

var _engine: EngineNode


## One engine for all tests of this file, since a real model takes a second to load.
func before() -> void:
	_engine = get_tree().root.get_node_or_null("SharedEngine")
	if _engine == null:
		_engine = make_engine(MODEL)
		_engine.arguments = ["--window", "1024", "--slots", "4", "--threads", "2"]
		_engine.name = "SharedEngine"
		_engine.reparent(get_tree().root)
		await started(_engine)


func after() -> void:
	super()
	_engine.new_game()
	if is_last:
		_engine.free()


func _mara(more := {}) -> NPCCharacter:
	var persona := "Mara keeps the Crooked Lantern inn. She is warm and dry."
	return make_character(_engine, "mara", persona, more)


func _bram() -> NPCCharacter:
	return make_character(_engine, "bram", "Bram rows the ferry. He is slow and kind.")


func test_talk() -> void:
	var mara := _mara()
	var lines: PackedStringArray = []
	var finished: Array[NPCReply] = []
	mara.line_spoken.connect(lines.append)
	mara.reply_finished.connect(finished.append)
	var reply: NPCReply = await mara.say("Good evening. Who are you?").finished
	check(reply.ok, str(reply.error))
	check(reply.text.length() > 3, "it says something: '%s'" % reply.text)
	equal(lines, reply.lines, "line by line")
	equal(finished, [reply] as Array[NPCReply])
	check(reply.reason in ["stop", "length"], reply.reason)
	equal(reply.turn, 1)
	check(reply.stats["ttft_ms"] > 0.0, str(reply.stats))
	equal(await reply.completed(), reply, "awaited again")


func test_stream() -> void:
	var mara := _mara()
	mara.stream_text = true
	var log: PackedStringArray = []
	mara.line_started.connect(func() -> void: log.append("started"))
	mara.text_streamed.connect(func(text: String) -> void: log.append("text:" + text))
	mara.line_spoken.connect(func(_line: String) -> void: log.append("line"))
	mara.reply_finished.connect(func(_reply: NPCReply) -> void: log.append("finished"))
	var reply := mara.say("What do you serve?")
	await answered(reply)
	equal([log[0], log[-1]], ["started", "finished"])
	check(log.count("started") == 1 and log.has("line"), str(log))
	var texts := Array(log).filter(func(entry: String) -> bool: return entry.begins_with("text:"))
	check(texts.size() > 3, "piece by piece: %s" % log)
	var streamed := "".join(texts.map(func(entry: String) -> String: return entry.substr(5)))
	equal(streamed.strip_edges().begins_with(reply.lines[0].left(10)), true, streamed)


func test_gesture() -> void:
	var persona := "Mara answers each question with a gesture between asterisks, as *nods*."
	var mara := _mara({"persona": persona, "max_tokens": 40, "sampling": {"temperature": 0.0}})
	var gestures: PackedStringArray = []
	mara.gesture.connect(gestures.append)
	for question: String in ["*waves* Hello!", "*bows* Do you nod?", "*nods* Show me: *nods*"]:
		var reply := mara.say(question)
		await answered(reply)
		equal(gestures, reply.gestures)
		if not gestures.is_empty():
			check(not gestures[0].contains("*"), gestures[0])
			return
	check(false, "no gesture in three replies")


func test_hear_and_attend_and_perceive() -> void:
	var mara := _mara()
	await until(func() -> bool: return mara.is_spawned, "it is there")
	for call: Callable in [
		mara.attend, mara.hear.bind("Who a"), mara.perceive.bind("The player draws a sword.", 0.9)
	]:
		var answer: NPCAnswer = await settled(call)
		check(answer.ok, str(answer.error))
	var everybody: NPCAnswer = await settled(_engine.perceive.bind("The bell tolls."))
	equal(everybody.reply["n_heard"], 1)
	await answered(mara.say("Who are you?"))
	var contents: NPCAnswer = await settled(mara.window_contents)
	check(str(contents.reply["segments"]).contains("draws a sword"), "it has perceived that")


func test_interrupt() -> void:
	var mara := _mara({"max_tokens": 200, "sampling": {"temperature": 0.0}})
	var reply := mara.say("Tell me a long story about the river and its people.")
	await until(func() -> bool: return reply.lines.size() > 0 or reply.is_finished, "a line")
	var answer: NPCAnswer = await settled(mara.interrupt.bind(12))
	check(answer.ok, str(answer.error))
	await answered(reply)
	check(reply.reason == "cancelled", reply.reason)
	check(reply.text.length() < 20, "it remembers what was heard: " + reply.text)


func test_interrupt_after_the_end_and_without_a_reply() -> void:
	var mara := _mara()
	await until(func() -> bool: return mara.is_spawned, "it is there")
	var nothing: NPCAnswer = await settled(mara.interrupt)
	equal(nothing.error.code, "unknown_target")
	var reply := mara.say("Who are you?")
	await answered(reply)
	var late: NPCAnswer = await settled(mara.interrupt.bind(3))
	check(late.ok and late.reply["cancelled"] == false, str(late.reply))


func test_pin_and_unpin() -> void:
	var mara := _mara()
	var fact: NPCAnswer = await settled(mara.remember.bind("The player is called Tom."))
	check(fact.ok, str(fact.error))
	var reply := mara.say("What is my name?", ["It is raining."], "Tom")
	await answered(reply)
	var turn: NPCAnswer = await settled(mara.pin_turn.bind(reply.turn))
	check(turn.ok, str(turn.error))
	var loose: NPCAnswer = await settled(mara.unpin.bind(fact.reply["turn"]))
	check(loose.ok, str(loose.error))
	var again: NPCAnswer = await settled(mara.unpin.bind(fact.reply["turn"]))
	equal(again.error.code, "unknown_target")


func test_transcript_and_rewind() -> void:
	var mara := _mara()
	for words: String in ["The number is nine.", "The colour is blue.", "The beast is a horse."]:
		await answered(mara.say(words, [], "Tom"))
	var talk: NPCAnswer = await settled(mara.transcript.bind(2))
	check(talk.ok and talk.reply["turns"].size() == 2, str(talk.reply))
	var said: Dictionary = talk.reply["turns"][0]["entries"][0]
	equal([said["kind"], said["speaker"], said["text"]], ["said", "Tom", "The colour is blue."])
	var back: NPCAnswer = await settled(mara.rewind)
	check(back.ok and back.reply["n_forgotten"] == 1, str(back.error))
	var further: NPCAnswer = await settled(mara.rewind_to.bind(1))
	equal([further.error, further.reply.get("turn")], [null, 1])
	var rest: NPCAnswer = await settled(mara.transcript)
	equal(rest.reply["turns"].size(), 1)
	check(str(rest.reply["turns"]).contains("nine"), str(rest.reply))


func test_two_characters_at_once() -> void:
	var mara := _mara()
	var bram := _bram()
	var order: PackedStringArray = []
	for character: NPCCharacter in [mara, bram]:
		character.stream_text = true
		character.text_streamed.connect(func(_text: String) -> void: order.append(character.npc))
	var replies: Array[NPCReply] = [mara.say("Who are you?"), bram.say("Who are you?")]
	for reply in replies:
		await answered(reply)
		check(reply.ok and not reply.text.is_empty(), str(reply.error))
	var n_changes := 0
	for i in range(1, order.size()):
		n_changes += int(order[i] != order[i - 1])
	check(n_changes > 3, "they speak at once: %s" % order)


func test_a_scene() -> void:
	var mara := _mara()
	var bram := _bram()
	var spoken: PackedStringArray = []
	mara.line_spoken.connect(func(line: String) -> void: spoken.append("mara: " + line))
	bram.line_spoken.connect(func(line: String) -> void: spoken.append("bram: " + line))
	await until(func() -> bool: return mara.is_spawned and bram.is_spawned, "they are there")
	var options := {"turns": 3, "first": "bram", "max_tokens": 20, "priority": "near"}
	var scene := _engine.scene("inn", ["mara", "bram"], "the missing bread", options)
	var lines: PackedStringArray = []
	scene.line_spoken.connect(
		func(npc: String, line: String) -> void: lines.append(npc + ": " + line)
	)
	await answered(scene)
	check(scene.ok and scene.reason == "turns", str(scene.error))
	equal(scene.turns.size(), 3)
	equal(scene.turns[0]["npc"], "bram")
	equal(lines, spoken, "the characters' own signals come, too")
	var late: NPCAnswer = await settled(scene.interrupt.bind(4))
	check(late.ok, str(late.error))


func test_a_scene_is_joined_left_and_ended() -> void:
	var wren := make_character(_engine, "wren", "Wren carries letters.")
	var mara := _mara()
	var bram := _bram()
	await until(
		func() -> bool: return wren.is_spawned and mara.is_spawned and bram.is_spawned, "all"
	)
	var scene := _engine.scene("inn", ["mara", "bram"], "", {"turns": 64, "max_tokens": 24})
	var joined: NPCAnswer = await settled(_engine.join.bind("inn", "wren"))
	check(joined.ok, str(joined.error))
	var left: NPCAnswer = await settled(_engine.leave.bind("inn", "bram"))
	check(left.ok, str(left.error))
	await answered(mara.say("Who is here?"))
	var ended: NPCAnswer = await settled(scene.interrupt)
	check(ended.ok, str(ended.error))
	await answered(scene)
	equal(scene.reason, "cancelled")
	var gone: NPCAnswer = await settled(_engine.join.bind("inn", "bram"))
	equal(gone.error.code, "unknown_target")


func test_save_kill_load() -> void:
	var mara := _mara()
	await answered(mara.say("Remember: the number is nine."))
	var saved: NPCAnswer = await settled(_engine.save_slot.bind("auto"))
	check(saved.ok and saved.reply["npcs"].has("mara"), str(saved.error))
	await answered(mara.say("And the colour is blue."))
	var before: NPCAnswer = await settled(mara.window_contents)
	kill(_engine.engine_pid)
	await until(func() -> bool: return not mara.is_spawned, "it is gone")
	await until(func() -> bool: return mara.is_spawned, "it is back, from the save")
	var after_crash: NPCAnswer = await settled(mara.window_contents)
	equal(after_crash.reply["turn"], before.reply["turn"] - 1, "as it was saved")
	await answered(mara.say("And the beast is a horse."))
	var loaded: NPCAnswer = await settled(_engine.load_slot.bind("auto"))
	check(loaded.ok, str(loaded.error))
	var after_load: NPCAnswer = await settled(mara.window_contents)
	equal(after_load.reply["turn"], after_crash.reply["turn"], "as it was saved, again")
	check(str(after_load.reply["segments"]).contains("nine"), "it remembers")
	var nothing: NPCAnswer = await settled(_engine.load_slot.bind("no-such-slot"))
	equal(nothing.error.code, "unknown_slot")


func test_what_is_not_saved() -> void:
	var mara := _mara()
	var bram := make_character(_engine, "bram", "Rows.", {"save_with_game": false})
	await until(func() -> bool: return mara.is_spawned and bram.is_spawned, "they are there")
	var saved: NPCAnswer = await settled(_engine.save_slot.bind("some"))
	equal(saved.reply.get("npcs"), ["mara"], str(saved.error))


func test_cards_of_all_kinds() -> void:
	var folder := ProjectSettings.globalize_path("res://").path_join(CARDS)
	var greetings: PackedStringArray = []
	for npc: String in ["mara", "bram", "wren"]:
		var more := {"display_name": "", "card_file": folder.path_join(npc + ".toml")}
		make_character(_engine, npc, "", more).spawned.connect(greetings.append)
	await until(func() -> bool: return greetings.size() == 3, "three greetings")
	check("".join(greetings).contains("Mind the third plank."), str(greetings))


func test_a_bad_card_is_told() -> void:
	var mara := _mara({"card_file": "res://project.godot"})
	var failed: Array[NPCError] = []
	mara.reply_failed.connect(failed.append)
	var reply := mara.say("Hello?")
	await answered(reply)
	equal([mara.spawn_error.code, reply.error.code, failed.size()], ["bad_card", "bad_card", 1])
	mara.card_file = ""
	mara.spawn()
	await answered(mara.say("Hello?"))
	check(mara.reply.ok, str(mara.reply.error))


func test_two_nodes_of_one_name() -> void:
	var first := _mara()
	var second := _mara()
	await answered(second.say("Hello?"))
	equal(second.reply.error.code, "npc_exists")
	await answered(first.say("Hello?"))
	check(first.reply.ok, str(first.reply.error))


func test_a_scene_left_and_entered_at_once() -> void:
	var mara := _mara()
	remove_child(mara)
	add_child(mara)
	await answered(mara.say("Hello?"))
	check(mara.reply.ok, str(mara.reply.error))


func test_replaced_in_one_frame_and_freed_before_it_lives() -> void:
	var old := _mara()
	var asked := old.say("Hello?")
	old.queue_free()
	var new := _mara()
	await answered(asked)
	equal(asked.error.code, "stopped", "what nobody waits for ends")
	await answered(new.say("Hello?"))
	check(new.reply.ok, str(new.reply.error))
	var scene := _engine.scene("alone", ["mara", "nobody"])
	await answered(scene)
	equal(scene.error.code, "unknown_npc")


func test_despawn_and_spawn() -> void:
	var mara := _mara()
	await answered(mara.say("Hello?"))
	var gone: NPCAnswer = await settled(mara.despawn)
	check(gone.ok, str(gone.error))
	await answered(mara.say("Still there?"))
	equal(mara.reply.error.code, "unknown_npc")
	mara.spawn()
	await answered(mara.say("And now?"))
	equal([mara.reply.error, mara.reply.turn], [null, 1])


func test_freed_in_mid_line() -> void:
	var mara := _mara()
	mara.max_tokens = 200
	var reply := mara.say("Tell me a long story.")
	await until(func() -> bool: return mara.is_spawned and not reply.lines.is_empty(), "it speaks")
	mara.hear("and")
	mara.pin("This is asked by nobody who waits.")
	var n_lines := reply.lines.size()
	mara.free()
	await answered(reply)
	equal([reply.error.code, reply.lines.size()], ["stopped", n_lines])
	check((await settled(_engine.ping)).ok, "the engine goes on")


func test_before_it_lives_requests_keep_their_order() -> void:
	var mara := _mara()
	var seen: PackedStringArray = []
	for title: String in ["one", "two", "three"]:
		var reply := mara.say(title)
		reply.finished.connect(func(_answer: NPCAnswer) -> void: seen.append(title))
	await until(func() -> bool: return seen.size() == 3, "three replies")
	equal(seen, PackedStringArray(["one", "two", "three"]))


func test_figures() -> void:
	_mara()
	var listed: NPCAnswer = await settled(_engine.list_characters)
	check(listed.ok, str(listed.error))
	var stats: NPCAnswer = await settled(_engine.stats)
	check(stats.reply["stats"].has("uptime_s"), str(stats.reply))
	check((await settled(_engine.ping)).ok, "a ping")
