extends "res://tests/talk_case.gd"
## A game talks with characters of a real model, and lets them talk with each other.


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


## A small model makes a gesture when it likes: it gets ten chances.
func test_gesture() -> void:
	var persona := "Mara answers each question with a gesture between asterisks, as *nods*."
	var mara := _mara({"persona": persona, "max_tokens": 40})
	var gestures: PackedStringArray = []
	mara.gesture.connect(gestures.append)
	for i in 10:
		var reply := mara.say(["*waves* Hello!", "*bows* Do you nod?", "Show me: *nods*"][i % 3])
		await answered(reply)
		equal(gestures, reply.gestures)
		if not gestures.is_empty():
			check(not gestures[0].contains("*"), gestures[0])
			return
	check(false, "no gesture in ten replies")


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
