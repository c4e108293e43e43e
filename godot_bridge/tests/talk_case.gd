extends "res://tests/case.gd"
## What the tests share that talk with a real model: the engine, and two characters.

const MODEL := "SmolLM2-135M-Instruct.Q4_1.gguf"

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
