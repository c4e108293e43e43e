@tool
extends "zmtp.gd"
## The same connection on a thread of its own: it is kept while the game is busy for long, and takes
## less of a frame.
##
## Rule 1: Only the thread touches the connection inside. Messages pass through two lists, under a
## lock.
## [br]Rule 2: While many messages wait to be taken the thread reads no more.

const Zmtp := preload("zmtp.gd")

const _PAUSE_USEC := 2000
const _MAX_WAITING := 1024

var _thread: Thread
var _lock := Mutex.new()
# Under the lock:
var _outgoing: Array[PackedByteArray] = []
var _incoming: Array[PackedByteArray] = []
var _reached := State.CLOSED
var _why := ""
var _is_wanted := false


func _notification(what: int) -> void:
	if what == NOTIFICATION_PREDELETE and _thread != null:  # nothing can be called any more
		_lock.lock()
		_is_wanted = false
		_lock.unlock()
		_thread.wait_to_finish()


func open(endpoint: String) -> void:
	close()
	error = ""
	var inner := Zmtp.new()
	inner.open(endpoint)
	state = inner.state
	error = inner.error
	if state == State.CLOSED:
		return
	_reached = state
	_is_wanted = true
	_thread = Thread.new()
	_thread.start(_run.bind(inner))


func close() -> void:
	_lock.lock()
	_is_wanted = false
	_lock.unlock()
	if _thread != null:
		_thread.wait_to_finish()
		_thread = null
	_incoming.clear()
	_outgoing.clear()
	state = State.CLOSED


func poll() -> void:
	_lock.lock()
	if _reached != State.CLOSED or _incoming.is_empty():
		state = _reached
		error = _why
	_lock.unlock()


func send(message: PackedByteArray) -> bool:
	if state != State.READY:
		return false
	_lock.lock()
	_outgoing.append(message)
	_lock.unlock()
	return true


func take() -> PackedByteArray:
	_lock.lock()
	var message: PackedByteArray = PackedByteArray()
	if not _incoming.is_empty():
		message = _incoming.pop_front()
	_lock.unlock()
	return message


func _run(inner: Zmtp) -> void:
	while _exchange(inner):
		OS.delay_usec(_PAUSE_USEC)
	inner.close()


## Returns whether there will be more.
func _exchange(inner: Zmtp) -> bool:
	inner.poll()
	_lock.lock()
	if inner.state == State.READY:
		for message in _outgoing:
			inner.send(message)
		_outgoing.clear()
	while _incoming.size() < _MAX_WAITING:
		var message := inner.take()
		if message.is_empty():
			break
		_incoming.append(message)
	_reached = inner.state
	_why = inner.error
	var goes_on := _is_wanted and inner.state != State.CLOSED
	_lock.unlock()
	return goes_on
