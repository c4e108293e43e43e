extends Node2D
## The example game: a village square, three characters, and a talk with each of them.
##
## [br]1. Walk up to somebody: they get ready ([method NPCCharacter.attend]).
## [br]2. Talk: the [NPCDialogueBox] does that, and this only opens it.
## [br]3. Draw a sword: those who see it perceive it, and know of it when they next speak.
## [br]4. Mara and Wren chat (gossip.gd) until the player comes near.
## [br]5. Save and load: the characters by [method NPCEngine.save_slot], the rest in a file.

const Controls := preload("controls.gd")
const Gossip := preload("gossip.gd")
const Hud := preload("hud.gd")
const Player := preload("player.gd")
const SavedGame := preload("saved_game.gd")
const Villager := preload("villager.gd")

const REACH := 95.0
const HUSH := 140.0
const SIGHT := 420.0
const SLOT := "village"

const _CAMERA_TOP := 250.0

## Where the rest of the game is saved.
var save_path := "user://village.json"
## Who can be talked to from here, or null.
var nearest: Villager

var _villagers: Array[Villager] = []
var _is_busy := false

@onready var player: Player = %Player
@onready var box: NPCDialogueBox = %DialogueBox
@onready var gossip: Gossip = %Gossip
@onready var _hud: Hud = %Hud
@onready var _camera: Camera2D = %Camera


func _ready() -> void:
	Controls.add()
	for node in %People.get_children():
		if node is Villager:
			_villagers.append(node)
			(node as Villager).character.spawn_failed.connect(_on_spawn_failed)
	gossip.begin([%Mara as Villager, %Wren as Villager] as Array[Villager])
	box.opened.connect(_on_box_opened)
	box.closed.connect(_on_box_closed)
	NPCEngine.start()  # in this project npc_engine/start_with_game is off, for its tests


func _process(delta: float) -> void:
	_look_around()
	var top := maxf(player.position.y - _CAMERA_TOP, 0.0) if box.is_open else 0.0
	_camera.position.y = lerpf(_camera.position.y, top, 1.0 - exp(-6.0 * delta))


func _unhandled_input(event: InputEvent) -> void:
	if event.is_echo():
		return
	if event.is_action_pressed("save_game"):
		save_game()
	elif event.is_action_pressed("load_game"):
		load_game()
	elif not box.is_open and event.is_action_pressed("talk"):
		talk()
	elif not box.is_open and event.is_action_pressed("draw_sword"):
		draw_sword()


## Talks to whoever is near.
func talk() -> void:
	if nearest == null or _is_busy:
		return
	nearest.face(player.global_position)
	player.figure.turn(nearest.global_position - player.global_position)
	box.choices = nearest.choices
	box.talk_to(nearest.character, nearest.portrait, nearest.greeting)
	nearest.greeting = ""


## Draws the sword, or puts it away; everybody in sight notices.
func draw_sword() -> void:
	player.figure.has_sword = not player.figure.has_sword
	var event := "The player draws a sword in the village square."
	if not player.figure.has_sword:
		event = "The player puts the sword away."
	for villager in _villagers:
		if _distance_to(villager) < SIGHT:
			villager.character.perceive(event, 0.8)
			villager.face(player.global_position)
			villager.be_surprised()


## Saves the characters, and what the game knows itself.
func save_game() -> void:
	if _is_busy:
		return
	_is_busy = true
	var answer: NPCAnswer = await NPCEngine.save_slot(SLOT)
	_is_busy = false
	if not answer.ok:
		_hud.tell("Not saved. %s" % answer.error.message)
		return
	var saved := SavedGame.new()
	saved.position = player.position
	saved.has_sword = player.figure.has_sword
	for villager in _villagers:
		saved.greetings[villager.character.npc] = villager.greeting
	var problem := saved.write(save_path)
	_hud.tell("Saved." if problem == OK else "Not saved: %s." % error_string(problem))


## Brings back what [method save_game] has saved.
func load_game() -> void:
	if _is_busy:
		return
	var saved := SavedGame.new()
	if not saved.read(save_path):
		_hud.tell("There is no saved game that can be read.")
		return
	box.close()
	_is_busy = true
	var answer: NPCAnswer = await NPCEngine.load_slot(SLOT)
	_is_busy = false
	if not answer.ok:
		_hud.tell("Not loaded. %s" % answer.error.message)
		return
	player.position = saved.position
	player.figure.has_sword = saved.has_sword
	for villager in _villagers:
		villager.greeting = NPCAnswer.text_of(saved.greetings, villager.character.npc)
	_hud.tell("Loaded.")


## Finds who can be talked to, and hushes those who chat when the player comes.
func _look_around() -> void:
	var found: Villager = null
	for villager in _villagers:
		var away := _distance_to(villager)
		if away < REACH and (found == null or away < _distance_to(found)):
			found = villager
	if found != nearest:
		_note_nearest(found)
	var is_near := _distance_to(%Mara as Villager) < HUSH or _distance_to(%Wren as Villager) < HUSH
	gossip.is_hushed = box.is_open or _is_busy or is_near


func _note_nearest(found: Villager) -> void:
	if nearest != null:
		nearest.show_hint("")
	nearest = found
	if nearest != null:
		nearest.character.attend()
		_show_hint()


func _show_hint() -> void:
	if nearest != null:
		var words := "%s: talk" % ("E" if Input.get_connected_joypads().is_empty() else "A")
		nearest.show_hint("" if box.is_open else words)


func _distance_to(villager: Villager) -> float:
	return villager.global_position.distance_to(player.global_position)


func _on_box_opened(_character: NPCCharacter) -> void:
	player.is_free = false
	_hud.show_help(false)
	_show_hint()


func _on_box_closed() -> void:
	player.is_free = true
	_hud.show_help(true)
	_show_hint()


func _on_spawn_failed(error: NPCError) -> void:
	_hud.tell("%s %s" % [error.message, error.help])
