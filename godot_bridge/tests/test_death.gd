extends "res://tests/case.gd"
## An engine that its system has ended: the same words as in Python, also where Godot has a status
## of its own.

const Death := preload("res://addons/npc_engine/death.gd")
const Sidecar := preload("res://addons/npc_engine/sidecar.gd")


func test_each_status_means_the_same_as_in_python() -> void:
	var folder := ProjectSettings.globalize_path("res://").path_join("../tests/vectors")
	var text := FileAccess.get_file_as_string(folder.path_join("deaths.json"))
	var all: Array = JSON.parse_string(text)
	check(all.size() > 30, "there are vectors")
	for expected: Dictionary in all:
		var found := Death.of(int(expected["status"]))
		var which := "status %d" % expected["status"]
		equal(found.is_empty(), not expected.has("cause"), which)
		if found.size() == 2 and expected.has("cause"):
			var cause: String = expected["cause"]
			equal(found[0], cause.replace("{cpu}", OS.get_processor_name()), which)
			equal(found[1], str(expected["help"]), which)
			if found[0].contains("processor") and expected["status"] > 255.0:
				equal(Death.of(int(expected["status"]) - (1 << 32)), found, "the same with a sign")


func test_a_signal_is_told_from_an_end_of_its_own() -> void:
	for signal_number: String in ["4", "9", "11"]:
		var error := await _death("kill -%s $$" % signal_number)
		equal(error.code, "engine_exited")
		check(error.message.begins_with("The engine ended with status"), error.message)
		check(error.message.ends_with("Last words."), error.message)
		match signal_number:
			"4":
				check(error.message.contains(OS.get_processor_name()), error.message)
				check(error.message.contains("lacks instructions"), error.message)
				check(error.help.contains("GGML_NATIVE=OFF"), error.help)
			"9":
				check(error.message.contains("memory runs out"), error.message)
			"11":
				check(error.message.contains("crashed in native code"), error.message)
	var gone := await _death("exec /nowhere/program")
	check(gone.message.contains("was not found"), gone.message)
	var own := await _death("exit 2")
	equal(own.message, "The engine ended with status 2 before it was ready. Last words.")
	check(own.help.contains("npc_engine/executable"), own.help)


func test_of_many_words_the_last_are_told() -> void:
	var trace := "i=0; while [ $i -lt 600 ]; do echo Row $i of a long trace. >&3; i=$((i+1)); done"
	var error := await _death(trace + "; echo The reason. >&3; exit 1")
	check(error.message.ends_with("Row 599 of a long trace. The reason."), error.message)


## What is said of a program that ends in that way before it is ready.
func _death(script: String) -> NPCError:
	var path := fresh_folder().path_join("npc-engine")
	var file := FileAccess.open(path, FileAccess.WRITE)
	file.store_string("#!/bin/sh\nexec 3>&2 2>/dev/null\necho Last words. >&3\n%s\n" % script)
	file.close()
	FileAccess.set_unix_permissions(path, 0x1ED)  # rwxr-xr-x
	var sidecar := Sidecar.new()
	var failed := sidecar.start(path, model_path("tiny/tiny-llama.gguf"), [])
	check(failed == null, "it starts")
	var ends := func() -> bool:
		sidecar.poll()
		return sidecar.state == Sidecar.State.ENDED
	await until(ends, "it ends")
	var error := sidecar.failure(WAIT_S)
	return error if error != null else NPCError.make("none", "it did not end", "")
