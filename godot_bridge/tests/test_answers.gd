extends "res://tests/case.gd"
## What a reply and a scene make of their records, with no engine.

var _log: Array = []


func _record(type: String, text: String, more := {}) -> Dictionary:
	return {"type": type, "seq": 0, "npc": "mara", "text": text}.merged(more, true)


func test_a_reply() -> void:
	var reply := NPCReply.new()
	reply.started.connect(func() -> void: _log.append("started"))
	reply.line_spoken.connect(func(line: String) -> void: _log.append(["line", line]))
	reply.gesture.connect(func(text: String) -> void: _log.append(["gesture", text]))
	reply.text_streamed.connect(func(text: String) -> void: _log.append(["text", text]))
	reply.finished.connect(func(answer: NPCAnswer) -> void: _log.append(answer == reply))
	reply.take_record(_record("gesture", "nods"))
	reply.take_record(_record("text", "Sit "))
	reply.take_record(_record("line", "Sit down."))
	reply.take_record(_record("something new", "?"))
	equal([reply.text, reply.reason, reply.ok], ["Sit down.", "", false], "before its end")
	var done := {"text": "*nods* Sit down.", "reason": "stop", "turn": 3, "truncated": true}
	reply.finish(done)
	reply.finish({}, NPCError.new())
	reply.take_record(_record("line", "too late"))
	equal(
		_log,
		["started", ["gesture", "nods"], ["text", "Sit "], ["line", "Sit down."], true],
		"signals"
	)
	equal([reply.text, reply.reason, reply.turn], ["*nods* Sit down.", "stop", 3])
	equal([reply.truncated, reply.ok, reply.gestures.size()], [true, true, 1])


func test_a_scene() -> void:
	var scene := NPCScene.new()
	scene.on_record = func(npc: String, _record: Dictionary) -> void: _log.append(npc)
	scene.line_spoken.connect(func(npc: String, line: String) -> void: _log.append([npc, line]))
	scene.gesture.connect(func(npc: String, text: String) -> void: _log.append([npc, text]))
	scene.turn_ended.connect(
		func(npc: String, text: String, turn: int) -> void: _log.append([npc, text, turn])
	)
	scene.take_record(_record("line", "Sit."))
	scene.take_record(_record("gesture", "nods", {"npc": "bram"}))
	scene.take_record(_record("turn", "Sit.", {"turn": 2}))
	equal(_log, ["mara", ["mara", "Sit."], "bram", ["bram", "nods"], "mara", ["mara", "Sit.", 2]])
	equal(scene.turns, [{"npc": "mara", "text": "Sit.", "turn": 2}] as Array[Dictionary])
	scene.finish({"reason": "alone"})
	equal(scene.reason, "alone")


## Nobody waits for ever for what has been.
func test_awaited_late_and_failed_later() -> void:
	var answer := NPCAnswer.new()
	answer.fail_later(NPCError.make("busy", "b", "c"))
	equal(answer.is_finished, false)
	var first: NPCAnswer = await settled(answer.completed)
	equal([first.ok, str(first.error)], [false, "busy: b c"])
	equal(await settled(answer.completed), answer)
