extends "res://tests/case.gd"
## The GDScript of the READMEs runs, as it stands there, with a real engine.

const MODEL := "SmolLM2-135M-Instruct.Q4_1.gguf"

var _engine: EngineNode


func before() -> void:
	_engine = get_tree().root.get_node("NPCEngine")
	_engine.stop()
	_engine.executable = setting("NPC_EXECUTABLE")
	_engine.model = model_path(MODEL)
	_engine.saves = fresh_folder()


func after() -> void:
	super()
	var pid := _engine.engine_pid
	_engine.restore_slot = ""
	_engine.stop()
	await until(func() -> bool: return not lives(pid), "the engine leaves", 5.0)


func test_the_ten_lines() -> void:
	var mara := await _run("res://../README.md")
	await until(func() -> bool: return _engine.restore_slot == "slot1", "it is saved", 60.0)
	check(mara.reply.ok and not mara.reply.text.is_empty(), str(mara.reply.error))
	var slot := _engine.saves.path_join("slot1")
	equal(DirAccess.get_files_at(slot).size(), 1, "who is in the slot")


func test_the_addons_readme() -> void:
	var mara := await _run("res://addons/npc_engine/README.md")
	await until(func() -> bool: return mara.reply.is_finished, "a reply", 60.0)
	check(mara.reply.ok and not mara.reply.text.is_empty(), str(mara.reply.error))


func test_the_bridges_readme() -> void:
	var mara := await _run("res://README.md")
	await until(func() -> bool: return mara.reply.is_finished, "a reply", 60.0)
	check(mara.reply.ok and not mara.reply.text.is_empty(), str(mara.reply.error))


## Lets a scene with a character called Mara run the first GDScript of a page.
func _run(page: String) -> NPCCharacter:
	var text := FileAccess.get_file_as_string(ProjectSettings.globalize_path(page))
	var code := text.get_slice("```gdscript\n", 1).get_slice("```", 0)
	check(code.contains("$Mara.say("), "%s has code: %s" % [page, code])
	var script := GDScript.new()
	script.source_code = code if code.begins_with("extends") else "extends Node\n" + code
	equal(script.reload(), OK, page)
	var mara := NPCCharacter.new()
	mara.name = "Mara"
	mara.persona = "Mara keeps the Crooked Lantern inn."
	mara.max_tokens = 24
	var scene: Node = script.new()
	scene.add_child(mara)
	_engine.start()
	add_child(scene)
	await until(func() -> bool: return mara.reply != null, "it is asked", 60.0)
	return mara
