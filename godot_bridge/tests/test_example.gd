extends "res://tests/input_case.gd"
## A scripted player in the example game, with a real model: keys and mouse, as a player has them.
##
## Where there is a display, pictures go to the folder that NPC_SHOTS names.

const MODEL := "SmolLM2-135M-Instruct.Q4_1.gguf"
const Village := preload("res://example/village.gd")
const SavedGame := preload("res://example/saved_game.gd")
const Villager := preload("res://example/villager.gd")

const _CARDS := "../examples/characters"

var _engine: EngineNode
var _village: Village
var _mara: Villager
var _spoken: PackedStringArray = []


func before() -> void:
	limit_s = 400.0
	_engine = get_tree().root.get_node("NPCEngine")
	_engine.executable = setting("NPC_EXECUTABLE")
	_engine.model = model_path(MODEL)
	_engine.arguments = ["--window", "1024", "--slots", "4", "--threads", "1"]
	_engine.saves = fresh_folder()
	_engine.restore_slot = ""


func after() -> void:
	super()
	_engine.stop()
	await until(func() -> bool: return _engine._leaving.is_empty(), "the engine ends")


func test_cards_are_those_of_the_repository() -> void:
	var folder := ProjectSettings.globalize_path("res://").path_join(_CARDS)
	for npc: String in ["mara", "bram", "wren"]:
		var copy := FileAccess.get_file_as_string("res://example/characters/%s.toml" % npc)
		equal(copy, FileAccess.get_file_as_string(folder.path_join(npc + ".toml")), npc)
		check(not copy.is_empty(), npc)


func test_a_damaged_save_is_none() -> void:
	var path := fresh_folder().path_join("village.json")
	var saved := SavedGame.new()
	check(not saved.read(path), "there is none")
	for text: String in ["", "[]", "{", '{"position": [1]}', '{"position": [1, "x"]}', "null"]:
		var file := FileAccess.open(path, FileAccess.WRITE)
		file.store_string(text)
		file.close()
		check(not saved.read(path), text)
	saved.position = Vector2(3.5, -2.0)
	saved.has_sword = true
	saved.greetings = {"mara": "Boots."}
	equal(saved.write(path), OK)
	var read := SavedGame.new()
	check(read.read(path), "it can be read")
	equal([read.position, read.has_sword], [saved.position, true])
	equal(read.greetings, saved.greetings)


func test_without_a_model_it_says_what_to_do() -> void:
	_engine.model = "no-such-model.gguf"
	_enter_village()
	var trouble: Control = _village.get_node("%Hud/%Trouble")
	await until(func() -> bool: return trouble.visible, "a message")
	var words: String = (_village.get_node("%Hud/%TroubleText") as Label).text
	await _shoot("no-model")
	check(words.contains("no-such-model.gguf") and words.contains("npc_engine/model"), words)
	_village.player.position = _mara.position + Vector2(0, 60)
	await _until_near(_mara)
	await tap(KEY_E)
	_village.box.say("Hello?")
	await until(
		func() -> bool: return _village.box.text == _village.box.canned_line, "a canned line"
	)


func test_a_player_talks_saves_and_loads() -> void:
	_enter_village()
	var box := _village.box
	_village.gossip.pause_s = 0.5
	box.player_spoke.connect(_spoken.append)
	if not await until(func() -> bool: return _engine.is_engine_ready(), "an engine"):
		return
	var mara := _mara.character
	await _two_chat()
	await _walk_to(_mara)
	check(not _village.gossip.is_chatting, "they hush when the player comes")
	await tap(KEY_E)
	check(box.is_open and box.text.contains("Boots on the mat"), "the greeting: " + box.text)
	await until(func() -> bool: return box.heard > 20, "the greeting")
	await type("Do you have a room for the night?")
	await until(func() -> bool: return box.heard > 30 or not box.is_speaking, "some words")
	await _shoot("talk")
	await until(func() -> bool: return not box.is_speaking, "the end of the reply")
	await _shoot("talk-end")
	check(mara.reply.ok and not mara.reply.text.is_empty(), "she answers: %s" % mara.reply.error)
	await _cut_in()
	await tap(KEY_ESCAPE)
	check(not box.is_open, "Escape leaves")
	await _draw_a_sword()
	await _save_and_load()
	equal(_spoken[0], "Do you have a room for the night?")


func _enter_village() -> void:
	_village = (load("res://example/village.tscn") as PackedScene).instantiate()
	for npc: String in ["Mara", "Bram", "Wren"]:
		(_village.get_node("%" + npc) as Node).get_node("Character").sampling = {"seed": 11}
	_village.save_path = fresh_folder().path_join("village.json")
	add_child(_village)
	_mara = _village.get_node("%Mara")


func _two_chat() -> void:
	var wren: Villager = _village.get_node("%Wren")
	var says := func(who: Villager) -> bool:
		return who.bubble.is_read_out and not who.bubble.line.begins_with("*")
	await until(func() -> bool: return says.call(_mara) or says.call(wren), "a line", 150.0)
	await _shoot("village")


## A small model may answer with a gesture alone, or a word: it gets as many chances as choices.
func _cut_in() -> void:
	var box := _village.box
	box.letters_per_second = 20.0
	for i in box.choices.size():
		await _click_choice(i)
		check(_spoken[-1] == box.choices[i], "a choice is said: " + _spoken[-1])
		await until(func() -> bool: return box.heard > 5 or not box.is_speaking, "some words")
		if box.is_speaking:
			break
	check(box.is_speaking, "she speaks")
	await tap(KEY_ESCAPE)
	check(box.is_open and not box.is_speaking, "she falls silent")
	box.letters_per_second = 45.0
	await _shoot("cut")
	var talk: NPCAnswer = await settled(_mara.character.transcript.bind(1))
	var said: String = talk.reply["turns"][0]["entries"][-1]["text"]
	var shown := _plain(box.text)
	check(shown.begins_with(_plain(said)), "she said what was heard: '%s', '%s'" % [said, shown])


func _draw_a_sword() -> void:
	await tap(KEY_Q)
	await _shoot("sword")
	await tap(KEY_E)
	await type("What do you see?")
	await until(func() -> bool: return not _village.box.is_speaking, "an answer")
	await _shoot("noticed")
	var contents: NPCAnswer = await settled(_mara.character.window_contents)
	check(str(contents.reply["segments"]).contains("draws a sword"), "she has noticed the sword")


func _save_and_load() -> void:
	var at := _village.player.position
	await tap(KEY_F5)
	var file := _village.save_path
	await until(func() -> bool: return FileAccess.file_exists(file), "a save")
	await _shoot("saved")
	var saved: NPCAnswer = await settled(_mara.character.window_contents)
	await type("Remember the number nine.")
	await until(func() -> bool: return not _village.box.is_speaking, "an answer")
	var later: NPCAnswer = await settled(_mara.character.window_contents)
	check(later.reply["turn"] > saved.reply["turn"], "the talk went on")
	await tap(KEY_ESCAPE)
	await tap(KEY_Q)
	hold(KEY_S, true)
	await until(func() -> bool: return _village.player.position.y > at.y + 60, "a few steps")
	hold(KEY_S, false)
	await tap(KEY_F9)
	await until(func() -> bool: return _village.player.position == at, "the player is back")
	check(_village.player.figure.has_sword, "with the sword in hand")
	var loaded: NPCAnswer = await settled(_mara.character.window_contents)
	equal(loaded.reply["turn"], saved.reply["turn"], "and Mara knows what she knew")


## Walks as a player does: with the keys, and round nothing.
func _walk_to(villager: Villager) -> void:
	var end := Time.get_ticks_msec() + 15000
	while _village.nearest != villager and Time.get_ticks_msec() < end:
		var way := villager.position - _village.player.position
		hold(KEY_A, way.x < -20)
		hold(KEY_D, way.x > 20)
		hold(KEY_W, way.y < -20)
		hold(KEY_S, way.y > 20)
		await get_tree().process_frame
	for key: Key in _held.keys():
		hold(key, false)
	check(_village.nearest == villager, "the player gets there: %s" % _village.player.position)
	await frames(4)


func _until_near(villager: Villager) -> void:
	await until(func() -> bool: return _village.nearest == villager, "somebody near")


func _click_choice(index: int) -> void:
	var choices: Container = _village.box.find_child("Choices", true, false)
	await click((choices.get_child(index) as Button).get_global_rect().get_center())


## The words alone.
static func _plain(text: String) -> String:
	return " ".join(text.replace("*", " ").replace("\n", " ").split(" ", false))


func _shoot(title: String) -> void:
	var folder := OS.get_environment("NPC_SHOTS")
	if folder.is_empty() or DisplayServer.get_name() == "headless":
		return
	await RenderingServer.frame_post_draw
	var image := get_viewport().get_texture().get_image()
	check(
		image.save_png(folder.path_join("godot-%s.png" % title)) == OK, "a picture in %s" % folder
	)
