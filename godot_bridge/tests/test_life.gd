extends "res://tests/talk_case.gd"
## What a character remembers, how it is saved, and how it comes and goes with its node.

const CARDS := "../examples/characters"


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
	first.free()
	second.spawn()
	await answered(second.say("And now?"))
	check(second.reply.ok and second.reply.turn == 2, "it has taken over: %s" % second.reply.error)


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


func test_despawned_on_its_way() -> void:
	var mara := _mara()
	mara.despawn()
	mara.spawn()
	await answered(mara.say("Hello?"))
	equal([mara.reply.error, mara.reply.turn], [null, 1])
	mara.despawn()
	await answered(mara.say("Still there?"))
	equal(mara.reply.error.code, "unknown_npc")
	mara.spawn()
	await settled(mara.despawn)
	var listed: NPCAnswer = await settled(_engine.list_characters)
	equal(listed.reply["npcs"], [], "it is gone")
	mara.spawn()
	_engine.new_game()
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
