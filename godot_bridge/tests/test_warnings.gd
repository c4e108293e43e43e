extends "res://tests/case.gd"
## What the editor says of a character that cannot talk yet, and what to do.

const Warnings := preload("res://addons/npc_engine/warnings.gd")

const _SETTINGS := ["npc_engine/model", "npc_engine/executable", "npc_engine/endpoint"]

var _before: Array = []


func before() -> void:
	for path: String in _SETTINGS:
		_before.append(ProjectSettings.get_setting(path, null))
	_set_up(model_path("tiny/tiny-llama.gguf"), setting("NPC_EXECUTABLE"))


func after() -> void:
	super()
	for i in _SETTINGS.size():
		ProjectSettings.set_setting(_SETTINGS[i], _before[i])


func _set_up(model: String, executable: String, endpoint := "") -> void:
	ProjectSettings.set_setting("npc_engine/model", model)
	ProjectSettings.set_setting("npc_engine/executable", executable)
	ProjectSettings.set_setting("npc_engine/endpoint", endpoint)


## Each thing that is wrong has its own warning, with the value and the remedy.
func _expect(found: PackedStringArray, parts: Array[PackedStringArray]) -> void:
	equal(found.size(), parts.size(), str(found))
	for i in mini(found.size(), parts.size()):
		for part in parts[i]:
			check(found[i].contains(part), "'%s' in: %s" % [part, found[i]])


func test_a_character() -> void:
	_expect(Warnings.of_character("", "", " \n"), [["nobody", "card_file", "persona"]])
	_expect(Warnings.of_character("mara", "", "Keeps the inn."), [])
	_expect(
		Warnings.of_character("no name", "res://gone.toml", ""),
		[["'res://gone.toml'", "cannot be read", "choose another"], ["'no name'", "A-Z a-z"]]
	)
	_expect(Warnings.of_character(".hidden", "", "x"), [["'.hidden'"]])
	_expect(Warnings.of_character("", "res://project.godot", "x"), [["'res://project.godot'"]])


func test_a_card_that_an_exported_game_lacks() -> void:
	var path := fresh_folder().path_join("mara.toml")
	_write(path)
	_expect(Warnings.of_character("", path, ""), [[path, "exported", "res://"]])
	path = "res://tests/warned.toml"
	_write(path)
	_expect(Warnings.of_character("", path, ""), [])
	var enabled: Variant = ProjectSettings.get_setting("editor_plugins/enabled")
	ProjectSettings.set_setting("editor_plugins/enabled", PackedStringArray())
	_expect(Warnings.of_character("", path, ""), [[path, "exported", "plugin", "Keep File"]])
	ProjectSettings.set_setting("editor_plugins/enabled", enabled)
	DirAccess.remove_absolute(path)


static func _write(path: String) -> void:
	var file := FileAccess.open(path, FileAccess.WRITE)
	file.store_string('name = "Mara"\n')
	file.close()


func test_a_project() -> void:
	_expect(Warnings.of_project(), [])
	_set_up("", setting("NPC_EXECUTABLE"))
	_expect(Warnings.of_project(), [["No model", "npc_engine/model", "npc_engine/endpoint"]])
	_set_up("gone.gguf", "/nowhere/npc-engine")
	_expect(
		Warnings.of_project(),
		[["'/nowhere/npc-engine'", "npc_engine/executable"], ["'gone.gguf'", "npc_engine/model"]]
	)
	_set_up("gone.gguf", "/nowhere/npc-engine", "tcp://127.0.0.1:5757")
	_expect(Warnings.of_project(), [])


func test_a_plugin_that_is_not_enabled() -> void:
	var autoload: Variant = ProjectSettings.get_setting("autoload/NPCEngine")
	ProjectSettings.set_setting("autoload/NPCEngine", null)
	_expect(Warnings.of_project(), [["NPCEngine", "Project Settings > Plugins"]])
	ProjectSettings.set_setting("autoload/NPCEngine", autoload)


func test_a_node_tells_both() -> void:
	var node := NPCCharacter.new()
	_set_up("gone.gguf", setting("NPC_EXECUTABLE"))
	_expect(node._get_configuration_warnings(), [["nobody"], ["'gone.gguf'"]])
	node.free()
