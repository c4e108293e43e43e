extends SceneTree
## A game that starts an engine and notes its process id, to be killed by a test.

const EngineNode := preload("res://addons/npc_engine/npc_engine.gd")


func _initialize() -> void:
	var engine := EngineNode.new()
	engine.executable = OS.get_environment("NPC_EXECUTABLE")
	engine.model = OS.get_environment("NPC_MODELS").path_join("tiny/tiny-llama.gguf")
	engine.start_with_game = true
	engine.engine_ready.connect(_note.bind(engine))
	root.add_child.call_deferred(engine)


func _note(engine: EngineNode) -> void:
	var path := OS.get_environment("NPC_NOTE")
	var file := FileAccess.open(path + ".part", FileAccess.WRITE)
	file.store_string(str(engine.engine_pid))
	file.close()
	DirAccess.rename_absolute(path + ".part", path)
