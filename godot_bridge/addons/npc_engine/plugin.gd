@tool
extends EditorPlugin
## Puts the autoload [code]NPCEngine[/code] and its settings into the project, and the dock "Talk"
## and its button into the editor.

const Settings := preload("settings.gd")
const TalkButton := preload("editor/talk_button.gd")
const TalkDock := preload("editor/talk_dock.gd")

const _AUTOLOAD := "NPCEngine"

var _dock: TalkDock
var _button: TalkButton


func _enable_plugin() -> void:
	add_autoload_singleton(_AUTOLOAD, "res://addons/npc_engine/npc_engine.gd")


func _disable_plugin() -> void:
	remove_autoload_singleton(_AUTOLOAD)


func _enter_tree() -> void:
	Settings.register()
	_dock = TalkDock.new()
	add_control_to_dock(DOCK_SLOT_RIGHT_BL, _dock)
	_button = TalkButton.new()
	_button.talk_wanted.connect(_on_talk_wanted)
	add_inspector_plugin(_button)


func _exit_tree() -> void:
	remove_inspector_plugin(_button)
	_button = null
	remove_control_from_docks(_dock)
	_dock.queue_free()
	_dock = null


func _on_talk_wanted(character: Node) -> void:
	_dock.reveal()
	_dock.talk_with(character)
