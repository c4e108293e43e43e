extends "res://tests/engine_case.gd"
## The addon in a real editor, in a project that has never been opened: warnings, button, dock.

const _SCENE := """[gd_scene format=3]
[ext_resource type="Script" path="res://addons/npc_engine/npc_character.gd" id="1"]
[ext_resource type="Script" path="res://own.gd" id="2"]
[node name="Main" type="Node"]
[node name="Mara" type="Node" parent="."]
script = ExtResource("1")
persona = "Mara keeps the inn."
max_tokens = 16
[node name="Bram" type="Node" parent="."]
script = ExtResource("2")
persona = "Bram rows the ferry."
max_tokens = 16
[node name="Nobody" type="Node" parent="."]
script = ExtResource("1")
"""


func before() -> void:
	limit_s = 120.0


func test_talk_in_the_editor() -> void:
	var project := _project()
	var note := project.path_join("note.json")
	var log_file := project.path_join("editor.log")
	OS.set_environment("NPC_NOTE", note)
	var arguments := PackedStringArray(["--headless", "--editor", "--path", project])
	arguments.append_array(["--log-file", log_file])
	var editor := spawn_process(setting("NPC_GODOT"), arguments)
	OS.unset_environment("NPC_NOTE")
	await until(func() -> bool: return not lives(editor), "the editor ends", 100.0)
	if not FileAccess.file_exists(note):
		check(false, FileAccess.get_file_as_string(log_file).left(2000))
		return
	var seen: Dictionary = JSON.parse_string(FileAccess.get_file_as_string(note))
	equal(seen.get("never", []), [], "what it waited for")
	equal(seen["autoload"], false, "the autoload does nothing in the editor")
	equal(seen["Mara"], [], "warnings")
	equal(seen["Nobody"].size(), 1, str(seen["Nobody"]))
	for npc: String in ["Mara", "Bram"]:
		var talk: String = seen.get("talk with %s" % npc, "nothing was said")
		check(talk.begins_with("You: Who are you?\n%s: " % npc), talk)
		equal(seen.get("dock of %s" % npc), true, "the dock is shown")
	var pid := int(seen["pid"])
	check(pid > 0, "the dock has an engine of its own")
	await until(func() -> bool: return not lives(pid), "which ends with the editor", 3.0)
	var log_text := FileAccess.get_file_as_string(log_file)
	check(not log_text.contains("ERROR"), log_text.left(2000))
	check(not log_text.contains("addons/npc_engine"), log_text.left(2000))


## A copy of the project with a scene in it and the plugin that sits in the user's place.
func _project() -> String:
	var project := fresh_folder()
	for folder: String in ["res://addons", "res://tests/editor_plugin"]:
		OS.execute("cp", ["-r", ProjectSettings.globalize_path(folder), project])
	OS.execute("mv", [project.path_join("editor_plugin"), project.path_join("addons")])
	var settings := bare_project()
	settings = settings.replace(
		'plugin.cfg")', 'plugin.cfg", "res://addons/editor_plugin/plugin.cfg")'
	)
	settings += '[npc_engine]\nmodel="%s"\n' % model_path("tiny/tiny-llama.gguf")
	settings += 'executable="%s"\n' % setting("NPC_EXECUTABLE")
	settings += 'arguments=PackedStringArray("--window", "512", "--threads", "1")\n'
	_write(project.path_join("project.godot"), settings)
	_write(project.path_join("main.tscn"), _SCENE)
	_write(project.path_join("own.gd"), "extends NPCCharacter\n")
	return project
