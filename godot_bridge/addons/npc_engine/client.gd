@tool
extends RefCounted
## One connection to an engine: the greeting, and whose answer is whose.
##
## It knows frames, records and how long to wait, and neither processes nor nodes. It never waits:
## [method poll] does what can be done in the time it is given.
## [br][br]
## Rule 1: Every [NPCAnswer] that is posted is finished exactly once: by the engine's answer, or by
## the error that ended the connection.
## [br]Rule 2: The engine gets no more open requests than it allows. What is over that waits, in
## order; a cancel does not, unless what it is for does.
## [br]Rule 3: Silence ends the connection; that of a game which was busy elsewhere is none.

## What has been reached.
enum State { CLOSED, OPENING, READY }

const CardParts := preload("card_parts.gd")
const Msgpack := preload("msgpack.gd")
const Zmtp := preload("zmtp.gd")
const ZmtpThread := preload("zmtp_thread.gd")

## The version of the protocol that this addon speaks.
const PROTOCOL := 1

const _MAX_PAUSE_S := 0.25
const _KEPT_FREE := 8
const _START_IT := "Start it (npc-engine serve --model q4.gguf), or set npc_engine/model."

## Seconds that an engine has to answer at all: to accept the connection, and to greet.
var greeting_s := 10.0
## After so many seconds with open requests and nothing from the engine it is asked for a sign.
var silence_s := 15.0
## Seconds that it has to give one.
var ping_s := 30.0
## Whether the next connection is served by a thread of its own.
var use_thread := false
## Whether the engine has greeted this client.
var state := State.CLOSED
## Why the connection is closed; null while it is not.
var error: NPCError
## What the engine said of itself: its model, its limits, the characters that are there.
var welcome := {}

var _zmtp: Zmtp = Zmtp.new()
var _msgpack := Msgpack.new()
var _endpoint := ""
var _token := ""
var _name := ""
var _open: Dictionary[String, NPCAnswer] = {}
var _backlog: Array[NPCAnswer] = []
var _max_open := 64
var _max_bytes := 1 << 20
var _silent_s := 0.0
var _asked_for_sign := false
var _last_usec := 0


## Starts to connect. An empty token is none; `client_name` is shown in the engine's log.
func open(endpoint: String, token: String, client_name: String) -> void:
	close(NPCError.make("stopped", "A new connection was opened.", "Ask again."))
	error = null
	_endpoint = endpoint
	_token = token
	_name = client_name
	_silent_s = 0.0
	_asked_for_sign = false
	_last_usec = Time.get_ticks_usec()
	state = State.OPENING
	_zmtp = ZmtpThread.new() if use_thread else Zmtp.new()
	_zmtp.open(endpoint)
	if not _zmtp.error.is_empty():
		_end(NPCError.make("bad_endpoint", _zmtp.error, "Mend npc_engine/endpoint."))


## Disconnects; every open request ends with `why`.
func close(why: NPCError) -> void:
	if state == State.CLOSED:
		return
	_end(why)


## Sends a request, or lets it wait while too many are open. Once the connection is closed the
## request ends in the same frame.
func post(answer: NPCAnswer) -> void:
	if state != State.READY:
		answer.fail_later(error)
	elif _open.size() >= _max_open - _KEPT_FREE and not _may_pass(answer):
		_backlog.append(answer)
	else:
		_send(answer)


## Takes in what has come, until `usec` microseconds are over. Handlers of signals run in here.
func poll(usec: int) -> void:
	if state == State.CLOSED:
		return
	var until := Time.get_ticks_usec() + usec
	_zmtp.poll()
	if state == State.OPENING and _zmtp.state == Zmtp.State.READY and _open.is_empty():
		_greet()
	_count_silence()
	while state != State.CLOSED:
		var frame := _zmtp.take()
		if frame.is_empty():
			break
		_heed(frame)
		if Time.get_ticks_usec() >= until:
			return
	_check()


func _greet() -> void:
	var hello := NPCAnswer.new()
	hello.request = {"type": "hello", "protocol": PROTOCOL, "client": _name.left(256)}
	if not _token.is_empty():
		hello.request["token"] = _token
	_send(hello)


func _send(answer: NPCAnswer) -> void:
	answer.request["id"] = answer.id
	if answer.request.get("card") is Dictionary:
		answer.request["card"] = CardParts.to_send(answer.request["card"])
	var frame := _msgpack.encode(answer.request)
	if frame.is_empty():
		answer.fail_later(_no_message(_msgpack.error))
	elif frame.size() > _max_bytes:
		var why := "The request '%s' has %d bytes, most of them in '%s'."
		why = why % [answer.request["type"], frame.size(), CardParts.heaviest(answer.request)]
		answer.fail_later(NPCError.make("too_large", why, "Send at most %d bytes." % _max_bytes))
	else:
		_open[answer.id] = answer
		_zmtp.send(frame)  # a failure shows in the next poll


func _may_pass(answer: NPCAnswer) -> bool:
	var target: Variant = answer.request.get("target")
	return target is String and _open.has(target)


func _heed(frame: PackedByteArray) -> void:
	_silent_s = 0.0
	_asked_for_sign = false
	var value: Variant = _msgpack.decode(frame)
	if not value is Dictionary:
		var why := _msgpack.error if not _msgpack.error.is_empty() else "it is no map"
		_distrust("%d bytes that are no reply: %s" % [frame.size(), why])
		return
	var record: Dictionary = value
	var answer: NPCAnswer = _open.get(NPCAnswer.text_of(record, "id"))
	if answer == null:
		_heed_stray(record)
	elif record.has("seq"):
		answer.take_record(record)
	else:
		_open.erase(answer.id)
		var type := NPCAnswer.text_of(record, "type")
		if answer.request["type"] == "hello":
			_take_welcome(type, record)
		elif type == "error":
			answer.finish({}, _error_of(record))
		else:
			answer.finish(record)
		_send_backlog()


func _heed_stray(record: Dictionary) -> void:
	if NPCAnswer.text_of(record, "type") == "error" and not record.has("id"):
		push_warning("NPCEngine: %s" % _error_of(record))


func _take_welcome(type: String, record: Dictionary) -> void:
	if type == "welcome" and NPCAnswer.int_of(record, "protocol") != PROTOCOL:
		var why := (
			"The engine speaks protocol %s, this addon %d." % [record.get("protocol"), PROTOCOL]
		)
		_end(NPCError.make("protocol_version", why, "Use engine and addon of the same version."))
	elif type == "welcome":
		welcome = record
		var limits := NPCAnswer.map_of(record, "limits")
		_max_open = maxi(NPCAnswer.int_of(limits, "max_open_requests", 64), 2 * _KEPT_FREE)
		_max_bytes = NPCAnswer.int_of(limits, "max_message_bytes", 1 << 20)
		state = State.READY
	elif type == "error":
		_end(_error_of(record))
	else:
		_distrust("'%s' in answer to hello" % type)


## What sends one bad frame may have meant the answer that somebody waits for.
func _distrust(what: String) -> void:
	var why := "The engine at %s sent %s." % [_endpoint, what]
	_end(NPCError.make("bad_reply", why, "Use engine and addon of the same version."))


func _send_backlog() -> void:
	while not _backlog.is_empty() and state == State.READY:
		if _open.size() >= _max_open - _KEPT_FREE:
			return
		_send(_backlog.pop_front())


## A frame of the game that took long counts little: the engine was not silent, nobody listened.
func _count_silence() -> void:
	var now := Time.get_ticks_usec()
	var passed_s := minf((now - _last_usec) / 1e6, _MAX_PAUSE_S)
	_last_usec = now
	_silent_s = _silent_s + passed_s if state == State.OPENING or not _open.is_empty() else 0.0


func _check() -> void:
	if state == State.CLOSED:
		return
	if _zmtp.state == Zmtp.State.CLOSED:
		var was_ready := state == State.READY
		var code := "connection_lost" if was_ready else "unreachable"
		_end(NPCError.make(code, "No engine at %s: %s." % [_endpoint, _zmtp.error], _START_IT))
	elif state == State.OPENING and _silent_s > greeting_s:
		_give_up("The engine at %s does not greet." % _endpoint)
	elif state == State.READY and _asked_for_sign and _silent_s > silence_s + ping_s:
		_give_up("The engine at %s gives no sign of life." % _endpoint)
	elif state == State.READY and not _asked_for_sign and _silent_s > silence_s:
		_asked_for_sign = true
		var ping := NPCAnswer.new()
		ping.request = {"type": "ping"}
		_send(ping)


func _give_up(why: String) -> void:
	_end(NPCError.make("timeout", why, "Look into its log; it may be overloaded."))


func _end(why: NPCError) -> void:
	_zmtp.close()
	state = State.CLOSED
	error = why
	var ended := _open.values()
	ended.append_array(_backlog)
	_open.clear()
	_backlog.clear()
	for answer: NPCAnswer in ended:
		answer.finish({}, why)


static func _error_of(record: Dictionary) -> NPCError:
	var code := NPCAnswer.text_of(record, "code", "internal")
	return NPCError.make(
		code, NPCAnswer.text_of(record, "message"), NPCAnswer.text_of(record, "help")
	)


static func _no_message(why: String) -> NPCError:
	return NPCError.make("bad_message", "The request is no message: %s." % why, "Mend its values.")
