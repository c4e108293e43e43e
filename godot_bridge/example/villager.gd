extends StaticBody2D
## One of the village: a figure, its bubble, and the [NPCCharacter] that speaks for it.

const Bubble := preload("bubble.gd")
const Figure := preload("figure.gd")

const _SURPRISE_S := 1.6

## Its picture in the dialogue box.
@export var portrait: Texture2D
## What the player can say to it without typing.
@export var choices: PackedStringArray = []

## The first words of its card, until the player has heard them.
var greeting := ""

@onready var character: NPCCharacter = $Character
@onready var figure: Figure = $Figure
@onready var bubble: Bubble = $Bubble

@onready var _hint: Label = $Hint
@onready var _surprise: Label = $Surprise


func _ready() -> void:
	character.spawned.connect(_on_spawned)
	_hint.hide()
	_surprise.hide()


## Shows how to talk to it, or no longer.
func show_hint(words: String) -> void:
	_hint.text = words
	_hint.visible = not words.is_empty()


## Turns to somebody.
func face(where: Vector2) -> void:
	figure.turn(where - global_position)


## Shows that it has noticed something.
func be_surprised() -> void:
	_surprise.show()
	var tween := create_tween()
	tween.tween_interval(_SURPRISE_S)
	tween.tween_callback(_surprise.hide)


func _on_spawned(words: String) -> void:
	if not words.is_empty():
		greeting = words
