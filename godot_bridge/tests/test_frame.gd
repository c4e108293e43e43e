extends "res://tests/case.gd"
## What the addon takes of a frame while characters stream.
##
## The clock runs on while another program has the processor. Frames in which that happened (Linux
## tells it for each thread) do not count, and on a busy machine a round is repeated.

const FakeServer := preload("res://tests/fake_program.gd")
const RATE := 500
const SECONDS := 4
const N_ROUNDS := 3
const LIMIT_USEC := 1000

var _engine: EngineNode
var _took: PackedInt32Array = []


func before() -> void:
	await _start(false)


func _start(use_thread: bool) -> void:
	Engine.max_fps = 60
	_engine = make_engine()
	_engine.use_thread = use_thread
	_engine.executable = FakeServer.make(fresh_folder(), setting("NPC_PYTHON"))
	await started(_engine)
	_engine.set_process(false)  # it is called by _frame, to be measured


func after() -> void:
	Engine.max_fps = 120
	super()


## Notes what the addon takes of each frame until all replies have ended.
func _measure(replies: Array[NPCReply]) -> void:
	_took.clear()
	var is_open := func(reply: NPCReply) -> bool: return not reply.is_finished
	var n_frames := 0
	while replies.any(is_open):
		await _frame()
		n_frames += 1
	var figures := [_percentile(50), _percentile(99), _percentile(100)]
	print(
		"      us in %d of %d frames: " % [_took.size(), n_frames],
		"median %d, p99 %d, most %d" % figures
	)
	check(
		_took.size() > 100, "there are frames to be measured: %d of %d" % [_took.size(), n_frames]
	)


func _character(npc: String) -> NPCCharacter:
	var character := make_character(_engine, npc, "Talks.", {"stream_text": true})
	while not character.is_spawned:
		await _frame()
	return character


func _frame() -> void:
	await get_tree().process_frame
	var before := _n_switches()
	_engine._process(0.0)
	if _n_switches() == before:
		_took.append(_engine.last_frame_usec)


## How often another program was given the processor of this thread.
static func _n_switches() -> String:
	var status := FileAccess.open("/proc/thread-self/status", FileAccess.READ)
	while status != null and not status.eof_reached():
		var line := status.get_line()
		if line.begins_with("nonvoluntary_ctxt_switches"):
			return line
	return ""


func _percentile(percent: float) -> int:
	var sorted := _took.duplicate()
	sorted.sort()
	return sorted[int((sorted.size() - 1) * percent / 100.0)]


func test_a_frame_with_a_thread() -> void:
	_engine.free()
	await _start(true)
	await test_a_frame_while_500_tokens_a_second_stream()


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
		if _percentile(95) < LIMIT_USEC:
			return
	check(false, "p95 is over %d us in each round" % LIMIT_USEC)
