extends "res://tests/case.gd"
## What the addon takes of a frame while characters stream.
##
## The clock runs on while another program has the processor: on a busy machine a round is repeated,
## and the best one counts.

const FakeServer := preload("res://tests/fake_program.gd")
const RATE := 500
const SECONDS := 4
const N_ROUNDS := 3
const LIMIT_USEC := 1000

var _engine: EngineNode
var _took: PackedInt32Array = []


func before() -> void:
	Engine.max_fps = 60
	_engine = make_engine()
	_engine.executable = FakeServer.make(fresh_folder(), setting("NPC_PYTHON"))
	await started(_engine)


func after() -> void:
	Engine.max_fps = 120
	super()


## Notes what the addon takes of each frame until all replies have ended.
func _measure(replies: Array[NPCReply]) -> void:
	_took.clear()
	var is_open := func(reply: NPCReply) -> bool: return not reply.is_finished
	while replies.any(is_open):
		await get_tree().process_frame
		_took.append(_engine.last_frame_usec)
	var figures := [_took.size(), _percentile(50), _percentile(99), _percentile(100)]
	print("      us in %d frames: median %d, p99 %d, most %d" % figures)


func _character(npc: String) -> NPCCharacter:
	var character := make_character(_engine, npc, "Talks.", {"stream_text": true})
	await until(func() -> bool: return character.is_spawned, "it is there")
	return character


func _percentile(percent: float) -> int:
	var sorted := _took.duplicate()
	sorted.sort()
	return sorted[int((sorted.size() - 1) * percent / 100.0)]


func test_a_frame_while_500_tokens_a_second_stream() -> void:
	var mara: NPCCharacter = await _character("mara")
	var bram: NPCCharacter = await _character("bram")
	var n_texts := [0]
	for character: NPCCharacter in [mara, bram]:
		character.text_streamed.connect(func(_text: String) -> void: n_texts[0] += 1)
	var best := LIMIT_USEC
	for _i in N_ROUNDS:
		n_texts[0] = 0
		var words := "%d for %d" % [RATE / 2, SECONDS]
		await _measure([mara.say(words), bram.say(words)])
		equal(n_texts[0], RATE * SECONDS, "every piece comes")
		check(_took.size() > SECONDS * 30, "%d frames" % _took.size())
		best = mini(best, _percentile(99))
		if best < LIMIT_USEC:
			return
	check(false, "p99 is over %d us in each round" % LIMIT_USEC)


## However much comes at once, a frame ends in time and the next one goes on.
func test_a_flood_keeps_to_the_budget() -> void:
	var character: NPCCharacter = await _character("mara")
	for _i in N_ROUNDS:
		var reply := character.say("100000 for 0.1")
		await _measure([reply])
		equal(reply.lines.size(), 2000, "every line comes")
		check(_took.size() > 20, "in many frames: %d" % _took.size())
		if _percentile(95) < LIMIT_USEC:
			return
	check(false, "p95 is over %d us in each round" % LIMIT_USEC)
