extends Node2D
## A little person drawn with shapes: its feet are at the origin.

enum Hat { NONE, BUN, SOUTHWESTER, CAP }

const _SKIN := Color("e8b890")
const _DARK := Color("3a2e2a")
const _STEEL := Color("dfe6ee")

## The colour of coat or dress.
@export var coat := Color("4a6fa5")
## The colour of hair or hat.
@export var hair := Color("5b3a29")
## What is on its head.
@export var hat := Hat.NONE
## A white apron.
@export var has_apron := false
## A satchel on a strap.
@export var has_satchel := false
## How tall it is.
@export var height := 1.0

## Where it looks.
var facing := Vector2.DOWN:
	set(value):
		facing = value
		queue_redraw()
## Whether it holds a sword.
var has_sword := false:
	set(value):
		has_sword = value
		queue_redraw()
## Whether it walks: it bobs.
var is_walking := false

var _time := 0.0


func _process(delta: float) -> void:
	_time += delta * (11.0 if is_walking else 2.2)
	queue_redraw()


func _draw() -> void:
	_draw_shadow()
	var step := sin(_time) * (4.0 if is_walking else 0.0)
	var bob := absf(sin(_time)) * (3.0 if is_walking else 0.8)
	draw_set_transform(Vector2(0, -bob), 0.0, Vector2.ONE * height)
	_draw_leg(-6.0, step)
	_draw_leg(6.0, -step)
	if has_sword and facing.y < 0.0:
		_draw_sword()
	_draw_body()
	_draw_head(Vector2(facing.x * 2.0, -55.0))
	if has_sword and facing.y >= 0.0:
		_draw_sword()


## Turns that way; only who looks away shows the back of the head.
func turn(way: Vector2) -> void:
	facing = Vector2(signf(way.x), -1.0 if way.y < -absf(way.x) else 1.0)


func _draw_shadow() -> void:
	draw_set_transform(Vector2.ZERO, 0.0, Vector2(1.0, 0.4))
	draw_circle(Vector2.ZERO, 19.0 * height, Color(0, 0, 0, 0.25))


func _draw_leg(x: float, lift: float) -> void:
	draw_line(Vector2(x, -18), Vector2(x, -2.0 - maxf(lift, 0.0)), _DARK, 8.0)


func _draw_body() -> void:
	var shape := PackedVector2Array(
		[Vector2(-11, -44), Vector2(11, -44), Vector2(16, -12), Vector2(-16, -12)]
	)
	draw_colored_polygon(shape, coat)
	draw_polyline(shape + PackedVector2Array([shape[0]]), coat.darkened(0.35), 2.0, true)
	for side: float in [-1.0, 1.0]:
		draw_line(Vector2(11 * side, -41), Vector2(17 * side, -24), coat.darkened(0.15), 7.0)
		draw_circle(Vector2(17 * side, -22), 4.0, _SKIN)
	if has_apron and facing.y >= 0.0:
		draw_rect(Rect2(-9, -36, 18, 23), Color("f4efe4"))
	if has_satchel:
		draw_line(Vector2(-10, -43), Vector2(12, -22), Color("7a5230"), 3.0)
		draw_rect(Rect2(6, -26, 13, 12), Color("8f6238"))


func _draw_head(at: Vector2) -> void:
	draw_circle(at, 12.5, hair)
	if facing.y >= 0.0:
		draw_circle(at + Vector2(facing.x * 2.5, 2.5), 10.5, _SKIN)
		for side: float in [-4.0, 4.0]:
			draw_circle(at + Vector2(side + facing.x * 4.0, 2.5), 1.6, _DARK)
	match hat:
		Hat.BUN:
			draw_circle(at + Vector2(0, -13), 6.0, hair)
		Hat.SOUTHWESTER:
			draw_rect(Rect2(at.x - 17, at.y - 7, 34, 5), hair)
			draw_circle(at + Vector2(0, -8), 10.0, hair)
		Hat.CAP:
			draw_rect(Rect2(at.x - 12, at.y - 11, 24, 7), coat.darkened(0.3))
			draw_rect(Rect2(at.x - 3 + facing.x * 9, at.y - 6, 10, 3), coat.darkened(0.5))


func _draw_sword() -> void:
	draw_line(Vector2(18, -24), Vector2(34, -58), _STEEL, 4.0, true)
	draw_line(Vector2(15, -30), Vector2(26, -26), Color("b08a3c"), 4.0, true)
