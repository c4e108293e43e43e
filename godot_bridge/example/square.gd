extends StaticBody2D
## The ground of the village: drawn with shapes, and solid where one cannot walk.

const _GRASS := Color("7c9a58")
const _STONE := Color("cdb993")
const _WOOD := Color("8a6240")
const _WATER := Color("4f86a6")
const _LEAVES: Array[Color] = [Color("4f7a45"), Color("5d8a4e"), Color("446b3d")]

const _WELL := Vector2(640, 330)
const _INN := Rect2(150, 60, 290, 170)
const _POST := Rect2(560, 50, 170, 130)
const _RIVER_X := 1010.0
const _LANDING := Rect2(960, 380, 130, 46)
const _TREES: Array[Vector2] = [
	Vector2(70, 150),
	Vector2(95, 330),
	Vector2(60, 560),
	Vector2(500, 120),
	Vector2(850, 130),
	Vector2(915, 240),
	Vector2(880, 610),
	Vector2(240, 640),
	Vector2(120, 800),
	Vector2(540, 830),
	Vector2(800, 860),
]
const _OUTER := Rect2(-200, -200, 1680, 1400)


func _ready() -> void:
	for house: Rect2 in [_INN, _POST]:
		_add_box(house)
	_add_box(Rect2(_WELL - Vector2(46, 24), Vector2(92, 44)))
	for tree in _TREES:
		_add_box(Rect2(tree - Vector2(14, 10), Vector2(28, 20)))
	_add_box(Rect2(_RIVER_X + 12, -200, 300, 576))
	_add_box(Rect2(_RIVER_X + 12, 432, 300, 800))
	_add_box(Rect2(_LANDING.end.x - 10, 370, 200, 70))
	_add_box(Rect2(-60, -200, 80, 1400))
	_add_box(Rect2(-60, -60, 1400, 80))
	_add_box(Rect2(-60, 690, 1400, 80))


func _draw() -> void:
	var dice := RandomNumberGenerator.new()
	dice.seed = 7
	draw_rect(_OUTER, _GRASS)
	_draw_tufts(dice)
	_draw_paving(dice)
	_draw_river(dice)
	_draw_house(_POST, Color("b5694c"), Color("e3d3b4"))
	_draw_house(_INN, Color("6f4a3a"), Color("e9d8b0"))
	_draw_lantern(Vector2(_INN.end.x + 4, _INN.end.y - 74))
	_draw_sign(Vector2(_POST.get_center().x, _POST.end.y - 66), "POST")
	_draw_well()
	for tree in _TREES:
		_draw_tree(tree, dice)


func _draw_tufts(dice: RandomNumberGenerator) -> void:
	for i in 260:
		var at := Vector2(dice.randf_range(-100, 1000), dice.randf_range(-100, 1000))
		var color := _GRASS.darkened(0.12) if i % 3 else _GRASS.lightened(0.15)
		for lean: float in [-3.0, 0.0, 3.0]:
			draw_line(at, at + Vector2(lean, -7), color, 1.5)


func _draw_paving(dice: RandomNumberGenerator) -> void:
	draw_set_transform(Vector2(600, 390), 0.0, Vector2(1.0, 0.52))
	draw_circle(Vector2.ZERO, 352.0, _STONE.darkened(0.18))
	draw_circle(Vector2.ZERO, 344.0, _STONE)
	draw_set_transform(Vector2.ZERO)
	draw_rect(Rect2(880, 378, 90, 50), _STONE)
	for i in 150:
		var angle := dice.randf() * TAU
		var away := sqrt(dice.randf()) * 325.0
		var at := Vector2(600 + cos(angle) * away, 390 + sin(angle) * away * 0.52)
		var size := Vector2(dice.randf_range(16, 30), dice.randf_range(8, 13))
		var shade := _STONE.darkened(dice.randf_range(0.04, 0.12))
		draw_rect(Rect2(at - size / 2.0, size), shade)


func _draw_river(dice: RandomNumberGenerator) -> void:
	draw_rect(Rect2(_RIVER_X - 12, -200, 600, 1400), Color("b79f72"))
	draw_rect(Rect2(_RIVER_X, -200, 600, 1400), _WATER)
	for i in 70:
		var at := Vector2(dice.randf_range(_RIVER_X + 20, 1300), dice.randf_range(-150, 1000))
		var half := dice.randf_range(10, 28)
		draw_line(at - Vector2(half, 0), at + Vector2(half, 0), _WATER.lightened(0.2), 2.0)
	_draw_boat(Vector2(1140, 410))
	draw_rect(_LANDING, _WOOD)
	for x in range(int(_LANDING.position.x), int(_LANDING.end.x), 18):
		draw_line(Vector2(x, 380), Vector2(x, 426), _WOOD.darkened(0.3), 2.0)
	for corner: Vector2 in [Vector2(1086, 376), Vector2(1086, 430)]:
		draw_circle(corner, 7.0, _WOOD.darkened(0.4))


func _draw_boat(at: Vector2) -> void:
	var hull := PackedVector2Array(
		[Vector2(-26, -60), Vector2(0, -84), Vector2(26, -60), Vector2(28, 52), Vector2(-28, 52)]
	)
	for i in hull.size():
		hull[i] += at
	draw_colored_polygon(hull, _WOOD.darkened(0.35))
	for y: float in [-36.0, 4.0, 40.0]:
		draw_rect(Rect2(at.x - 24, at.y + y, 48, 9), _WOOD.lightened(0.1))
	draw_line(at + Vector2(-44, 30), at + Vector2(30, -50), _WOOD.lightened(0.25), 5.0)


func _draw_house(walls: Rect2, roof: Color, plaster: Color) -> void:
	var below := Rect2(walls.position + Vector2(0, 60), walls.size - Vector2(0, 60))
	draw_rect(Rect2(below.position + Vector2(8, 8), below.size), Color(0, 0, 0, 0.2))
	draw_rect(below, plaster)
	for x: float in [0.0, 0.33, 0.66, 1.0]:
		var at := below.position.x + below.size.x * x
		draw_line(Vector2(at, below.position.y), Vector2(at, below.end.y), _WOOD.darkened(0.3), 6.0)
	draw_line(below.position, Vector2(below.end.x, below.position.y), _WOOD.darkened(0.3), 6.0)
	_draw_roof(walls, roof)
	var door := Rect2(walls.get_center().x - 17, walls.end.y - 58, 34, 58)
	draw_rect(door, _WOOD.darkened(0.45))
	draw_circle(door.get_center() + Vector2(10, 4), 2.5, Color("d8b65a"))
	for x: float in [0.165, 0.835]:
		var pane := Rect2(below.position.x + below.size.x * x - 17, below.position.y + 26, 34, 34)
		draw_rect(pane.grow(4), _WOOD.darkened(0.3))
		draw_rect(pane, Color("f6d77a"))
		draw_line(
			Vector2(pane.get_center().x, pane.position.y), pane.end - Vector2(17, 0), _WOOD, 3.0
		)


func _draw_roof(walls: Rect2, color: Color) -> void:
	var left := walls.position + Vector2(-20, 72)
	var right := Vector2(walls.end.x + 20, left.y)
	var shape := PackedVector2Array(
		[
			left,
			walls.position + Vector2(24, -4),
			Vector2(walls.end.x - 24, walls.position.y - 4),
			right
		]
	)
	draw_colored_polygon(shape, color)
	for row in range(1, 5):
		var y := walls.position.y - 4 + row * 16
		var inset := 44.0 * (1.0 - row / 4.75)
		draw_line(
			Vector2(left.x + inset, y), Vector2(right.x - inset, y), color.darkened(0.22), 2.0
		)
	draw_line(left, right, color.darkened(0.4), 4.0)


## The lantern of the Crooked Lantern hangs crooked.
func _draw_lantern(at: Vector2) -> void:
	draw_circle(at + Vector2(26, 26), 30.0, Color(1.0, 0.85, 0.4, 0.22))
	draw_line(at, at + Vector2(28, 0), _WOOD.darkened(0.5), 5.0)
	draw_set_transform(at + Vector2(24, 6), 0.35)
	draw_rect(Rect2(-8, 0, 16, 24), Color("3b2f2a"))
	draw_rect(Rect2(-5, 4, 10, 16), Color("ffdf7e"))
	draw_set_transform(Vector2.ZERO)


func _draw_sign(at: Vector2, words: String) -> void:
	draw_rect(Rect2(at - Vector2(30, 12), Vector2(60, 22)), _WOOD.darkened(0.2))
	var font := ThemeDB.fallback_font
	draw_string(
		font, at + Vector2(-30, 5), words, HORIZONTAL_ALIGNMENT_CENTER, 60, 14, Color("f3e6c8")
	)


func _draw_well() -> void:
	draw_set_transform(_WELL, 0.0, Vector2(1.0, 0.55))
	draw_circle(Vector2(0, 14), 50.0, Color(0, 0, 0, 0.2))
	draw_circle(Vector2.ZERO, 48.0, Color("7d7f86"))
	draw_circle(Vector2(0, -16), 48.0, Color("a3a6ad"))
	draw_circle(Vector2(0, -16), 34.0, Color("26384a"))
	draw_set_transform(Vector2.ZERO)
	for x: float in [-42.0, 42.0]:
		draw_line(_WELL + Vector2(x, -6), _WELL + Vector2(x, -74), _WOOD.darkened(0.2), 7.0)
	draw_line(_WELL + Vector2(0, -70), _WELL + Vector2(0, -14), Color("4a3b30"), 2.0)
	var roof := PackedVector2Array(
		[_WELL + Vector2(-60, -66), _WELL + Vector2(0, -104), _WELL + Vector2(60, -66)]
	)
	draw_colored_polygon(roof, Color("8f4f3c"))


func _draw_tree(at: Vector2, dice: RandomNumberGenerator) -> void:
	draw_set_transform(at, 0.0, Vector2(1.0, 0.4))
	draw_circle(Vector2.ZERO, 40.0, Color(0, 0, 0, 0.2))
	draw_set_transform(Vector2.ZERO)
	draw_line(at, at - Vector2(0, 40), Color("6a4a33"), 13.0)
	for i in 7:
		var leaf := at + Vector2(dice.randf_range(-26, 26), dice.randf_range(-88, -44))
		draw_circle(leaf, dice.randf_range(18, 30), _LEAVES[i % 3])


func _add_box(box: Rect2) -> void:
	var shape := RectangleShape2D.new()
	shape.size = box.size
	var solid := CollisionShape2D.new()
	solid.shape = shape
	solid.position = box.get_center()
	add_child(solid)
