@tool
extends EditorPlugin
## Puts the autoload [code]NPCEngine[/code] and its settings into the project.

const Settings := preload("settings.gd")
const _AUTOLOAD := "NPCEngine"


func _enable_plugin() -> void:
	add_autoload_singleton(_AUTOLOAD, "res://addons/npc_engine/npc_engine.gd")


func _disable_plugin() -> void:
	remove_autoload_singleton(_AUTOLOAD)


func _enter_tree() -> void:
	Settings.register()
