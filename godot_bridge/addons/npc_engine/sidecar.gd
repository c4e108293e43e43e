@tool
extends RefCounted
## The engine as a child process: starts it, waits until it is ready, ends it.
##
## It knows the command line and the READY line of [code]npc-engine serve[/code], and nothing of
## what goes over the wire. Its stdin is the engine's lifeline: the engine leaves when that closes,
## and that also happens when the game is killed, so none is left behind.

## How far the engine is.
enum State { NONE, STARTING, READY, LEAVING, ENDED }

const Death := preload("death.gd")
const Settings := preload("settings.gd")

## Seconds that an engine gets to leave by itself.
const LEAVE_S := 3.0
## How many lines of the engine's log are kept.
const KEPT_LOG_LINES := 200

const _NO_PROGRAM := "Could not create child process"  # so says Godot's child, and kills itself
const _LOOK_EVERY_S := 0.05
const _MAX_LINE := 1 << 16
const _READ_AT_ONCE := 4096
const _READ_AT_A_LOOK := 1 << 16  # as much as a pipe holds: an engine that dies says why at the end
const _NO_REASON := " %"  # "Loading q4.gguf 25 %" says nothing of why an engine ended

## How far the engine is.
var state := State.NONE
## The process id, 0 before it is started.
var pid := 0
## How it has ended, once it has.
var status := 0
## Where the engine listens, once it is ready.
var endpoint := ""
## What a client has to show: new at each start.
var token := ""
## The last lines of the engine's log.
var log_lines: PackedStringArray = []
## Called with each line of the engine's log, if set.
var on_log := Callable()

var _stdio: FileAccess
var _stderr: FileAccess
var _out := PackedByteArray()
var _err := PackedByteArray()
var _looked_usec := 0
var _since_usec := 0


## Starts the engine. `executable` and `model` are looked for as [Settings] says; `arguments` follow
## what the addon gives. Returns what is wrong, or null.
func start(executable: String, model: String, arguments: PackedStringArray) -> NPCError:
	var missing := lacks(executable, model)
	if not missing.is_empty():
		return missing[0]
	return _start(Settings.find_executable(executable), Settings.find_file(model), arguments)


## Returns what would have to be there before an engine can start: an error for each.
static func lacks(executable: String, model: String) -> Array[NPCError]:
	var found: Array[NPCError] = []
	if Settings.find_executable(executable).is_empty():
		var which := executable if not executable.is_empty() else "npc-engine"
		var why := "There is no program '%s'." % which
		var help := "Install it, or set npc_engine/executable to where it is."
		found.append(NPCError.make("executable_not_found", why, help))
	if Settings.find_file(model).is_empty():
		var why := "There is no model '%s'." % model if not model.is_empty() else "No model is set."
		var help := "Set npc_engine/model to a GGUF file, or npc_engine/endpoint."
		found.append(NPCError.make("model_not_found", why, help))
	return found


## Returns why the engine is not ready, or null if it is, or still may be after `limit_s` seconds.
func failure(limit_s: float) -> NPCError:
	if state == State.ENDED:
		var why := "The engine ended with status %d before it was ready. " % status
		return death(
			why, "Check npc_engine/executable, and run npc-engine doctor with the same model."
		)
	if state == State.STARTING and Time.get_ticks_usec() - _since_usec > limit_s * 1e6:
		var why := "The engine is not ready after %d s. " % int(limit_s)
		var help := "Raise NPCEngine.start_timeout_s on slow machines."
		return NPCError.make("timeout", (why + last_words()).strip_edges(), help)
	return null


## Returns the error of an engine that has ended: `what` happened, why if its system has ended it,
## its last words, and `help` unless its end tells what to do.
func death(what: String, help: String) -> NPCError:
	var found := Death.of_child(status)
	var words: PackedStringArray = [what.strip_edges()]
	if last_words().contains(_NO_PROGRAM):
		words.append(Death.of(Death.NO_PROGRAM)[0])
	elif not found.is_empty():
		words.append(found[0])
		help = found[1]
	words.append(last_words())
	return NPCError.make("engine_exited", " ".join(words).strip_edges(), help)


## Reads what the engine writes, and looks whether it still runs.
func poll() -> void:
	var now := Time.get_ticks_usec()
	if state == State.NONE or state == State.ENDED or now - _looked_usec < _LOOK_EVERY_S * 1e6:
		return
	_looked_usec = now
	_err.append_array(_read(_stderr))
	_heed_lines(_err, _heed_log)
	if _stdio != null:
		_out.append_array(_read(_stdio))
		_heed_lines(_out, _heed_stdout)
	if not OS.is_process_running(pid):
		_note_end()
	elif state == State.LEAVING and now - _since_usec > LEAVE_S * 1e6:
		OS.kill(pid)  # this waits for its end, too: Godot complains when it is asked again
		_note_end()


## Lets the engine leave, and by force if it has not after [constant LEAVE_S] seconds of
## [method poll]. What is open is answered before that.
func stop() -> void:
	if state == State.NONE or state == State.ENDED or state == State.LEAVING:
		return
	_close_stdin()
	_since_usec = Time.get_ticks_usec()
	state = State.LEAVING


## Returns the engine's own words about why it ended.
func last_words() -> String:
	var words: PackedStringArray = []
	for line in log_lines:
		if not line.strip_edges().is_empty() and not line.ends_with(_NO_REASON):
			words.append(line)
	return " ".join(words.slice(-3))


func _start(program: String, file: String, arguments: PackedStringArray) -> NPCError:
	var command := PackedStringArray(["serve", "--model", file, "--bind", "tcp://127.0.0.1:0"])
	command.append_array(["--token-stdin", "--exit-on-stdin-eof"])
	command.append_array(arguments)
	token = OS.get_entropy(24).hex_encode()
	var child := OS.execute_with_pipe(program, command, false)
	if child.is_empty():
		var why := "'%s' cannot be started." % program
		return NPCError.make("executable_not_found", why, "Check npc_engine/executable.")
	pid = child["pid"]
	_stdio = child["stdio"]
	_stderr = child["stderr"]
	_stdio.store_string(token + "\n")
	_stdio.flush()
	_since_usec = Time.get_ticks_usec()
	state = State.STARTING
	return null


func _close_stdin() -> void:
	if _stdio != null:
		_stdio.close()
		_stdio = null


func _note_end() -> void:
	status = OS.get_process_exit_code(pid)
	_err.append_array(_read(_stderr))
	_err.append(10)
	_heed_lines(_err, _heed_log)
	_close_stdin()
	_stderr.close()
	state = State.ENDED


static func _read(pipe: FileAccess) -> PackedByteArray:
	var found := PackedByteArray()
	var piece := pipe.get_buffer(_READ_AT_ONCE)
	while not piece.is_empty() and found.size() < _READ_AT_A_LOOK:
		found.append_array(piece)
		piece = pipe.get_buffer(_READ_AT_ONCE)
	found.append_array(piece)
	return found


static func _heed_lines(bytes: PackedByteArray, heed: Callable) -> void:
	var from := 0
	var end := bytes.find(10)
	while end >= 0:
		heed.call(bytes.slice(from, end).get_string_from_utf8().strip_edges(false, true))
		from = end + 1
		end = bytes.find(10, from)
	if from > 0 or bytes.size() > _MAX_LINE:
		var rest := bytes.slice(from) if bytes.size() - from <= _MAX_LINE else PackedByteArray()
		bytes.clear()
		bytes.append_array(rest)


func _heed_log(line: String) -> void:
	log_lines.append(line)
	if log_lines.size() > KEPT_LOG_LINES:
		log_lines.remove_at(0)
	if on_log.is_valid():
		on_log.call(line)


func _heed_stdout(line: String) -> void:
	if state != State.STARTING or not line.begins_with("READY "):
		return
	var ready: Variant = JSON.parse_string(line.trim_prefix("READY "))
	if ready is Dictionary and ready.get("endpoint") is String:
		endpoint = ready["endpoint"]
		state = State.READY
