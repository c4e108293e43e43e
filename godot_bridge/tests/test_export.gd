extends "res://tests/engine_case.gd"
## Cards in an exported game: packed as they are, or an error that says what the export lacks.

const _GAME := """extends Node
func _ready() -> void:
	var found := {}
	for file in ["mara.png", "cards/deep/Bo.TOML", "cards/bo.toml", "cards/tom.json", "gone.toml"]:
		var npc := NPCCharacter.new()
		npc.card_file = "res://" + file
		add_child(npc)
		var card: Variant = npc.card()
		found[file] = "card" if card != null else str(npc.spawn_error)
		npc.free()
	found["autoload"] = get_node_or_null("/root/NPCEngine") != null
	found["texture"] = load("res://mara.png") is Texture2D
	for file in ["other.toml", "ignored/eve.toml"]:
		found[file] = FileAccess.file_exists("res://" + file)
	print("@@", JSON.stringify(found))
	get_tree().quit()
"""
const _AUTOLOAD := 'NPCEngine="*res://addons/npc_engine/npc_engine.gd"\n'
const _SCENE := """[gd_scene format=3]
[ext_resource type="Script" path="res://main.gd" id="1"]
[node name="Main" type="Node"]
script = ExtResource("1")
"""
const _PRESET := """[preset.0]
name="Linux"
platform="Linux"
runnable=true
export_filter="all_resources"
include_filter=""
exclude_filter=""
export_path="x"
script_export_mode=2
[preset.0.options]
binary_format/architecture="x86_64"
"""


func before() -> void:
	limit_s = 180.0


func test_the_plugin_packs_cards() -> void:
	var project := _project(bare_project().replace("[autoload]\n", "").replace(_AUTOLOAD, ""))
	var found := await _exported(project)
	for file: String in ["mara.png", "cards/deep/Bo.TOML", "cards/bo.toml", "cards/tom.json"]:
		equal(found.get(file), "card", file)
	equal(found.get("autoload"), true, "the plugin was enabled by hand, and has its autoload")
	equal(found.get("texture"), true, "the picture is one, too")
	equal(found.get("other.toml"), false, "what is no card stays outside")
	equal(found.get("ignored/eve.toml"), false, "what is ignored, too")
	check(str(found.get("gone.toml")).contains("was it exported?"), str(found.get("gone.toml")))


func test_without_the_plugin_the_game_says_what_is_missing() -> void:
	var found := await _exported(_project(bare_project().get_slice("[editor_plugins]", 0)))
	for file: String in ["mara.png", "cards/bo.toml"]:
		var said := str(found.get(file))
		check(said.contains("'res://%s' is no card" % file), said)
		check(said.contains("export") and said.contains("filter of non-resource files"), said)
	check(str(found.get("mara.png")).contains("texture"), str(found.get("mara.png")))
	equal(found.get("cards/tom.json"), "card", "JSON is a resource to Godot")


func _project(settings: String) -> String:
	var project := fresh_folder()
	OS.execute("cp", ["-r", ProjectSettings.globalize_path("res://addons"), project])
	for folder: String in ["cards/deep", "ignored"]:
		DirAccess.make_dir_recursive_absolute(project.path_join(folder))
	settings = settings.replace('"Bare"\n', '"Bare"\nrun/main_scene="res://main.tscn"\n')
	_write(project.path_join("project.godot"), settings)
	_write(project.path_join("main.gd"), _GAME)
	_write(project.path_join("main.tscn"), _SCENE)
	_write(project.path_join("export_presets.cfg"), _PRESET)
	_write(project.path_join("cards/bo.toml"), 'name = "Bo"\ndescription = "Rows."\n')
	_write(project.path_join("cards/deep/Bo.TOML"), 'name = "Bo"\nchar_greeting = "Ho."\n')
	_write(project.path_join("cards/tom.json"), '{"name": "Tom", "description": "Bakes."}')
	_write(project.path_join("other.toml"), "[tool]\nspeed = 3\n")
	_write(project.path_join("ignored/.gdignore"), "")
	_write(project.path_join("ignored/eve.toml"), 'name = "Eve"\ndescription = "Hides."\n')
	var here := ProjectSettings.globalize_path("res://")
	var card := here.path_join("../tests/vectors/cards/chara.png")
	OS.execute("cp", [card, project.path_join("mara.png")])
	return project


## Exports a project, plays it, and returns what it has noted.
func _exported(project: String) -> Dictionary:
	var pack := project.path_join("game.pck")
	await _godot(["--path", project, "--import"])
	await _godot(["--path", project, "--export-pack", "Linux", pack])
	check(FileAccess.file_exists(pack), "it is exported")
	var away := fresh_folder()
	var log_file := away.path_join("game.log")
	await _godot(["--path", away, "--main-pack", pack, "--log-file", log_file])
	for line in FileAccess.get_file_as_string(log_file).split("\n"):
		if line.begins_with("@@"):
			return JSON.parse_string(line.substr(2))
	check(false, "it has noted nothing: " + FileAccess.get_file_as_string(log_file).left(1000))
	return {}


func _godot(arguments: PackedStringArray) -> void:
	var program := spawn_process(
		setting("NPC_GODOT"), PackedStringArray(["--headless"]) + arguments
	)
	await until(func() -> bool: return not lives(program), "Godot ends", 60.0)
