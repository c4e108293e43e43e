@tool
extends EditorPlugin
## Puts the autoload [code]NPCEngine[/code] and its settings into the project, and the dock "Talk"
## and its button into the editor.

const CardExport := preload("editor/card_export.gd")
const Settings := preload("settings.gd")
const TalkButton := preload("editor/talk_button.gd")
const TalkDock := preload("editor/talk_dock.gd")

const _AUTOLOAD := "NPCEngine"
const _SCRIPT := "res://addons/npc_engine/npc_engine.gd"

var _dock: TalkDock
var _button: TalkButton
var _cards: CardExport


func _enable_plugin() -> void:
	add_autoload_singleton(_AUTOLOAD, _SCRIPT)


func _disable_plugin() -> void:
	remove_autoload_singleton(_AUTOLOAD)


func _enter_tree() -> void:
	Settings.register()
	EditorInterface.get_resource_filesystem().filesystem_changed.connect(_add_autoload)
	_add_autoload.call_deferred()
	_cards = CardExport.new()
	add_export_plugin(_cards)
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
	EditorInterface.get_resource_filesystem().filesystem_changed.disconnect(_add_autoload)
	remove_export_plugin(_cards)
	_cards = null


## Where the plugin was enabled in project.godot by hand, [method _enable_plugin] is never called.
## In a project that is opened for the first time the script is known once all files were looked at.
func _add_autoload() -> void:
	var is_known := ResourceUID.has_id(ResourceLoader.get_resource_uid(_SCRIPT))
	if is_known and not ProjectSettings.has_setting("autoload/" + _AUTOLOAD):
		add_autoload_singleton(_AUTOLOAD, _SCRIPT)
		ProjectSettings.save()  # the editor does so later, and not when it only imports or exports


func _on_talk_wanted(character: Node) -> void:
	_dock.reveal()
	_dock.talk_with(character)
