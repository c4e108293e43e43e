extends CharacterBody2D
## The player: walks, and may have a sword in hand.

const Figure := preload("figure.gd")
const SPEED := 230.0

## Whether the player can walk just now.
var is_free := true

@onready var figure: Figure = $Figure


func _physics_process(_delta: float) -> void:
	var way := Vector2.ZERO
	if is_free:
		way = Input.get_vector("walk_left", "walk_right", "walk_up", "walk_down")
	velocity = way * SPEED
	move_and_slide()
	figure.is_walking = way != Vector2.ZERO
	if figure.is_walking:
		figure.turn(way)
