extends Node
## Lets villagers chat with each other, and hush when the player has something to say.
##
## The engine writes a scene faster than anybody reads it: the lines wait here for their bubble.
## When the player comes, what was not shown yet was never said.

const Villager := preload("villager.gd")

const _TOPICS: PackedStringArray = [
	"the bread that is gone from the kitchen",
	"who rings the ferry bell at night",
	"the blue button from the landing",
]
const _TURNS := 4

## Seconds of quiet before they chat.
var pause_s := 6.0
## Whether they are to be silent.
var is_hushed := false
## Whether they chat: somebody's bubble shows a line, or there are more to come.
var is_chatting: bool:
	get:
		return _scene != null

var _members: Array[Villager] = []
var _scene: NPCScene
var _pieces: Array[Piece] = []
var _shown: Piece
var _heard := 0
var _quiet_s := 0.0
var _n_scenes := 0


## A line or a gesture that waits for its bubble.
class Piece:
	extends RefCounted
	var speaker: Villager
	var words := ""
	var is_line := true


## Says who chats.
func begin(members: Array[Villager]) -> void:
	_members = members


func _process(delta: float) -> void:
	if is_hushed:
		_hush()
	elif _scene != null:
		_show_pieces()
	else:
		_quiet_s += delta
		if _quiet_s > pause_s and _can_start():
			_start()


func _can_start() -> bool:
	return NPCEngine.is_engine_ready() and _members.all(_is_there)


func _is_there(villager: Villager) -> bool:
	return villager.character.is_spawned


func _start() -> void:
	var npcs: PackedStringArray = []
	for villager in _members:
		npcs.append(villager.character.npc)
	for villager in _members:
		villager.face(_members[1 if villager == _members[0] else 0].global_position)
	var about := _TOPICS[_n_scenes % _TOPICS.size()]
	_n_scenes += 1
	_heard = 0
	_pieces.clear()
	_scene = NPCEngine.scene("gossip", npcs, about, {"turns": _TURNS, "max_tokens": 48})
	_scene.line_spoken.connect(_add.bind(true))
	_scene.gesture.connect(_add.bind(false))


func _add(npc: String, words: String, is_line: bool) -> void:
	var piece := Piece.new()
	piece.words = words if is_line else "*%s*" % words
	piece.is_line = is_line
	for villager in _members:
		if villager.character.npc == npc:
			piece.speaker = villager
	if piece.speaker != null:
		_pieces.append(piece)


func _show_pieces() -> void:
	if _shown != null and not _shown.speaker.bubble.is_done:
		return
	_end_piece()
	if not _pieces.is_empty():
		_shown = _pieces.pop_front()
		_shown.speaker.bubble.say(_shown.words)
	elif _scene.is_finished:
		_rest()


## Only lines are counted: the engine wants it so.
func _end_piece() -> void:
	if _shown == null:
		return
	if _shown.is_line:
		_heard += _shown.speaker.bubble.n_shown
	_shown.speaker.bubble.hush()
	_shown = null


func _hush() -> void:
	_quiet_s = 0.0
	if _scene == null:
		return
	_end_piece()
	_scene.interrupt(_heard)
	_rest()


func _rest() -> void:
	_scene.line_spoken.disconnect(_add)
	_scene.gesture.disconnect(_add)
	_scene = null
	_pieces.clear()
	_quiet_s = 0.0
