extends Node
## The way to an engine: starts one or finds one, connects, and does so again when it is lost.
##
## [br]Rule 1: Every start ends in [signal engine_ready] or [signal engine_failed].
## [br]Rule 2: A request waits while there is hope, and ends with the error when there is none.
## [br]Rule 3: What another try cannot mend (no executable, no model, a wrong token) is tried once.
## Anything else is tried again, less and less often.
## [br]Rule 4: In the editor nothing is ever started.

## The engine serves. Comes again after each reconnection.
signal engine_ready
## There is no engine, and why: [param message] with the value that is wrong, [param help] what to
## do. Emitted once for each outage; what can mend itself is still tried in the background.
signal engine_failed(code: String, message: String, help: String)
## The engine that was ready is gone, or [method stop] was called.
signal engine_stopped
## A line of the log of the engine that the addon has started.
signal log_written(line: String)

## What has been reached.
enum State { STOPPED, STARTING, CONNECTING, READY, WAITING, FAILED }

const Client := preload("client.gd")
const Settings := preload("settings.gd")
const Sidecar := preload("sidecar.gd")

## Codes of errors that another try cannot mend.
const HOPELESS: PackedStringArray = ["unauthorized", "protocol_version", "bad_endpoint"]

const _FIRST_PAUSE_S := 0.25
const _HEALTHY_S := 60.0
const _MAX_CRASHES := 5
const _SPENT := 0.8  # of the budget: the message that is begun then has to fit, too

## Whether to start when the game does.
var start_with_game: bool = Settings.read("start_with_game")
## The model, a GGUF file: absolute, or relative to the game's executable.
var model: String = Settings.read("model")
## The engine's program; empty: looked for beside the game, then in the system's PATH.
var executable: String = Settings.read("executable")
## More arguments for [code]npc-engine serve[/code].
var arguments: PackedStringArray = Settings.read("arguments")
## The folder of the save slots.
var saves: String = Settings.read("saves")
## Where an engine runs already; empty: the addon starts its own.
var endpoint: String = Settings.read("endpoint")
## What the engine at [member endpoint] wants to be shown.
var token: String = Settings.read("token")
## Whether a thread of its own serves the connection: then it is kept while a frame takes longer
## than the half minute that the engine waits.
var use_thread: bool = Settings.read("use_thread")
## Milliseconds of each frame that the addon may take.
var frame_budget_ms: float = Settings.read("frame_budget_ms")
## Seconds that the engine gets to load its model.
var start_timeout_s := 120.0
## Seconds without an engine after which [signal engine_failed] comes.
var patience_s := 5.0
## Longest pause in seconds between two tries to find the engine again.
var max_pause_s := 5.0

## How far the addon is.
var state := State.STOPPED
## Why there is no engine; null while there is hope.
var error: NPCError
## Microseconds that the addon took in the last frame, handlers of its signals included.
var last_frame_usec := 0
## The process id of the engine that the addon has started, 0 if there is none.
var engine_pid: int:
	get:
		return _sidecar.pid if _sidecar != null else 0
## What the engine says of itself: [code]engine[/code], [code]model[/code], [code]limits[/code].
var welcome: Dictionary:
	get:
		return _client.welcome

var _client := Client.new()
var _sidecar: Sidecar
var _leaving: Array[Sidecar] = []
var _queue: Array[NPCAnswer] = []
var _since_usec := 0
var _outage_usec := 0
var _retry_usec := 0
var _pause_s := _FIRST_PAUSE_S
var _n_crashes := 0
var _is_reported := false


func _init() -> void:
	process_mode = Node.PROCESS_MODE_ALWAYS
	process_priority = -100


func _ready() -> void:
	if start_with_game:
		start()


func _exit_tree() -> void:
	stop()


func _process(_delta: float) -> void:
	var from := Time.get_ticks_usec()
	_poll(int(frame_budget_ms * 1000.0 * _SPENT))
	last_frame_usec = Time.get_ticks_usec() - from


## Starts an engine, or connects to the one at [member endpoint]. It does so in the next frame: then
## those who connect to its signals in their [code]_ready[/code] miss none. Nothing happens if that
## is done already.
func start() -> void:
	if Engine.is_editor_hint() or is_active():
		return
	_n_crashes = 0
	_begin_outage()
	_retry_usec = 0
	state = State.WAITING


## Disconnects, and ends the engine if the addon has started it. Open requests end with an error.
func stop() -> void:
	if state == State.STOPPED:
		return
	state = State.STOPPED
	error = NPCError.make("stopped", "The engine was stopped.", "Call NPCEngine.start().")
	_release_sidecar()
	_client.close(error)
	_fail_queue()
	engine_stopped.emit()


## Whether the engine serves.
func is_engine_ready() -> bool:
	return state == State.READY


## Whether there is an engine, or one is looked for.
func is_active() -> bool:
	return state != State.STOPPED and state != State.FAILED


## Whether the engine serves, or may soon: whether it makes sense to ask it something.
func is_hopeful() -> bool:
	return state == State.READY or (is_active() and not _is_reported)


## Sends a request of the protocol, with its own keys; [param answer] gets what comes of it. While
## the engine is starting it waits.
func request(type: String, keys := {}, answer := NPCAnswer.new()) -> NPCAnswer:
	answer.request = {"type": type}
	answer.request.merge(keys)
	if state == State.READY:
		_client.post(answer)
	elif is_hopeful():
		_queue.append(answer)
	else:
		answer.fail_later(error if error != null else _not_started())
	return answer


## The last lines of the log of the engine that the addon has started.
func engine_log() -> PackedStringArray:
	return _sidecar.log_lines if _sidecar != null else PackedStringArray()


func _begin() -> void:
	if not endpoint.is_empty():
		_connect_to(endpoint, token)
		return
	var why := _start_sidecar()
	if why != null:
		_fail(why)
	else:
		state = State.STARTING


func _start_sidecar() -> NPCError:
	var all := PackedStringArray(["--saves", ProjectSettings.globalize_path(saves)])
	all.append_array(arguments)
	_sidecar = Sidecar.new()
	_sidecar.on_log = log_written.emit
	return _sidecar.start(executable, model, all)


func _connect_to(where: String, shown: String) -> void:
	state = State.CONNECTING
	var game: String = ProjectSettings.get_setting("application/config/name", "")
	_client.use_thread = use_thread
	_client.open(where, shown, ("godot " + game).strip_edges())


func _poll(usec: int) -> void:
	for sidecar: Sidecar in _leaving.duplicate():
		sidecar.poll()
		if sidecar.state == Sidecar.State.ENDED:
			_leaving.erase(sidecar)
	if _sidecar != null:
		_sidecar.poll()
	match state:
		State.STARTING:
			_look_for_ready_line()
		State.CONNECTING, State.READY:
			_client.poll(usec)
			_look_at_client()
		State.WAITING:
			_try_again()


func _look_for_ready_line() -> void:
	if _sidecar.state == Sidecar.State.READY:
		_connect_to(_sidecar.endpoint, _sidecar.token)
		return
	var why := _sidecar.failure(start_timeout_s)
	if why != null:
		_fail(why)


func _look_at_client() -> void:
	if state == State.CONNECTING and _client.state == Client.State.READY:
		_be_ready()
	elif _client.state != Client.State.CLOSED:
		return
	elif state == State.READY:
		if Time.get_ticks_usec() - _since_usec > _HEALTHY_S * 1e6:
			_n_crashes = 0
		_begin_outage()
		_wait(_client.error)
		engine_stopped.emit()
	elif state == State.CONNECTING:
		if _client.error.code in HOPELESS:
			_fail(_client.error)
		else:
			_wait(_client.error)


func _be_ready() -> void:
	state = State.READY
	error = null
	_since_usec = Time.get_ticks_usec()
	engine_ready.emit()
	var waiting := _queue
	_queue = []
	for answer: NPCAnswer in waiting:
		request(answer.request["type"], answer.request, answer)


func _begin_outage() -> void:
	_outage_usec = Time.get_ticks_usec()
	_pause_s = _FIRST_PAUSE_S
	_is_reported = false
	error = null


## Let a while pass; say so when it has been too long.
func _wait(why: NPCError) -> void:
	state = State.WAITING
	_retry_usec = Time.get_ticks_usec() + int(_pause_s * 1e6)
	_pause_s = minf(_pause_s * 2.0, max_pause_s)
	if Time.get_ticks_usec() - _outage_usec > patience_s * 1e6:
		_report(why)


func _try_again() -> void:
	if Time.get_ticks_usec() < _retry_usec:
		return
	if _sidecar == null:
		_begin()
	elif _sidecar.state == Sidecar.State.READY:
		_connect_to(_sidecar.endpoint, _sidecar.token)
	else:
		_start_again()


func _start_again() -> void:
	_n_crashes += 1
	if _n_crashes <= _MAX_CRASHES:
		_begin()
		return
	var why := "The engine has crashed %d times in a row." % _n_crashes
	_fail(_sidecar.death(why, "Look into its log: NPCEngine.engine_log()."))


func _fail(why: NPCError) -> void:
	_release_sidecar()
	_client.close(why)
	state = State.FAILED
	_report(why)


func _report(why: NPCError) -> void:
	error = why
	var was_reported := _is_reported
	_is_reported = true
	_fail_queue()
	if not was_reported:
		push_warning("NPCEngine: %s" % why)
		engine_failed.emit(why.code, why.message, why.help)


func _release_sidecar() -> void:
	if _sidecar != null:
		_sidecar.stop()
		if _sidecar.state != Sidecar.State.NONE:
			_leaving.append(_sidecar)
		_sidecar = null


func _fail_queue() -> void:
	var waiting := _queue
	_queue = []
	for answer: NPCAnswer in waiting:
		answer.finish({}, error)


func _not_started() -> NPCError:
	var help := "Call NPCEngine.start(), or set npc_engine/start_with_game."
	return NPCError.make("not_started", "There is no engine yet.", help)
