@tool
extends RefCounted
## One ZeroMQ connection: ZMTP 3.1, mechanism NULL, a DEALER, over [StreamPeerTCP].
##
## Bytes in, messages out. It knows nothing of what a message says, and it never waits: call
## [method poll] once a frame, then [method take] until that is empty.
## (https://rfc.zeromq.org/spec/37/)
## [br][br]
## Rule 1: What came before the end of a connection is still handed out.
## [br]Rule 2: A peer can make it keep no more than [constant MAX_MESSAGE] bytes and what one read
## brings. While messages wait to be taken nothing more is read: TCP slows the peer down.
## [br]Rule 3: Any bytes lead to messages or to [member error]; nothing else.

## What has been reached. A connection goes through these in order.
enum State { CLOSED, CONNECTING, GREETING, HANDSHAKE, READY }

## Most bytes of a message that may come.
const MAX_MESSAGE := 16 << 20
## Most bytes that may wait to be sent.
const MAX_UNSENT := 16 << 20

const _READ_AT_ONCE := 64 << 10
const _MAX_COMMAND := 1 << 16
const _MORE := 1
const _LONG := 2
const _COMMAND := 4
const _N_GREETING := 64

## How far the connection is.
var state := State.CLOSED
## Why it is closed; empty while it is not, and after [method close].
var error := ""

var _tcp: StreamPeerTCP
var _in := PackedByteArray()
var _at := 0
var _needed := 1
var _parts := PackedByteArray()
var _out := PackedByteArray()
var _is_over := false


## Starts to connect, for example to [code]tcp://127.0.0.1:5757[/code]. Whether that works shows in
## [member state] after later calls of [method poll].
func open(endpoint: String) -> void:
	close()
	error = ""
	var address := _address(endpoint)
	if address.is_empty():
		error = "'%s' is no endpoint such as tcp://127.0.0.1:5757" % endpoint
		return
	_tcp = StreamPeerTCP.new()
	var failure := _tcp.connect_to_host(address[0], address[1])
	if failure != OK:
		_fail("%s cannot be reached: %s" % [endpoint, error_string(failure)])
		return
	state = State.CONNECTING


## Disconnects. What waits to be sent is tried once more, and dropped.
func close() -> void:
	if state == State.READY:
		_flush()
	_drop()
	_in.clear()
	_parts.clear()
	_at = 0
	_is_over = false


## Sends and receives what is possible without waiting.
func poll() -> void:
	if _tcp == null:
		return
	_tcp.poll()
	match _tcp.get_status():
		StreamPeerTCP.STATUS_CONNECTING:
			return
		StreamPeerTCP.STATUS_CONNECTED:
			if state == State.CONNECTING:
				_greet()
			_receive()
			_flush()
		_:
			_is_over = true
	_advance()


## Puts a message on its way. Returns false when it cannot be sent; [member error] says why.
func send(message: PackedByteArray) -> bool:
	if state != State.READY:
		return false
	_put_frame(0, message)
	_flush()
	return state == State.READY


## Returns the next message, and nothing when none is there yet.
func take() -> PackedByteArray:
	while state == State.READY:
		var head := _frame_head()
		if head.x < 0:
			break
		var body := _in.slice(head.y, head.y + head.x)
		var flags := _in[_at]
		_at = head.y + head.x
		if flags & _COMMAND:
			_obey(body)
		else:
			_parts.append_array(body)
			if not flags & _MORE:
				var message := _parts
				_parts = PackedByteArray()
				_needed = 1
				if not message.is_empty():
					return message
	_compact()
	if _is_over and state != State.CLOSED:
		_fail("the connection was closed")
	return PackedByteArray()


static func _address(endpoint: String) -> Array:
	var found := RegEx.create_from_string("^tcp://(\\[[0-9a-fA-F:.]+\\]|[^\\[\\]:/*]+):(\\d{1,5})$")
	var parts := found.search(endpoint)
	if parts == null or int(parts.get_string(2)) > 65535 or int(parts.get_string(2)) == 0:
		return []
	var host := parts.get_string(1).trim_prefix("[").trim_suffix("]")
	return ["127.0.0.1" if host == "localhost" else host, int(parts.get_string(2))]


func _greet() -> void:
	_tcp.set_no_delay(true)
	state = State.GREETING
	_out.append_array([0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 1])
	_out.append_array("NULL".to_ascii_buffer())
	_out.resize(_N_GREETING)
	_put_frame(_COMMAND, _ready_command())


static func _ready_command() -> PackedByteArray:
	var body := PackedByteArray([5])
	body.append_array("READY".to_ascii_buffer())
	body.append(11)
	body.append_array("Socket-Type".to_ascii_buffer())
	body.append_array([0, 0, 0, 6])
	body.append_array("DEALER".to_ascii_buffer())
	return body


## Read once, and only if no whole message waits already.
func _receive() -> void:
	if _in.size() - _at >= _needed:
		return
	var n_bytes := mini(_tcp.get_available_bytes(), _READ_AT_ONCE)
	if n_bytes <= 0:
		return
	var got := _tcp.get_partial_data(n_bytes)
	if got[0] != OK:
		_is_over = true
	_in.append_array(got[1])


## Greeting and handshake, as far as the bytes go.
func _advance() -> void:
	if state == State.CONNECTING and _is_over:
		_fail("nobody listens there")
	if state == State.GREETING:
		_read_greeting()
	if state == State.HANDSHAKE:
		_read_handshake()
	if _is_over and state != State.CLOSED and state != State.READY:
		_fail("the connection was closed before it was made")


func _read_greeting() -> void:
	_needed = _at + _N_GREETING
	if not _in.is_empty() and _in[0] != 0xFF:
		_fail("what listens there does not speak ZeroMQ")
	elif _in.size() >= _N_GREETING:
		var mechanism := _in.slice(12, 32)
		if _in[9] != 0x7F or _in[10] < 3:
			_fail("what listens there speaks no ZMTP 3")
		elif mechanism.slice(0, 5) != PackedByteArray([78, 85, 76, 76, 0]):
			_fail("what listens there wants another security mechanism than NULL")
		else:
			_at = _N_GREETING
			_needed = 1
			state = State.HANDSHAKE


func _read_handshake() -> void:
	var head := _frame_head()
	if head.x < 0:
		return
	var body := _in.slice(head.y, head.y + head.x)
	if not _in[_at] & _COMMAND or _command_name(body) != "READY":
		_fail("the engine refuses the connection")
		return
	_at = head.y + head.x
	state = State.READY


## Returns (bytes of the body, where it starts), or (-1, 0) while the frame is not whole.
func _frame_head() -> Vector2i:
	var n_left := _in.size() - _at
	_needed = 2
	if n_left < 2:
		return Vector2i(-1, 0)
	var flags := _in[_at]
	var n_head := 9 if flags & _LONG else 2
	_needed = n_head
	if n_left < n_head:
		return Vector2i(-1, 0)
	var size := _in[_at + 1]
	if flags & _LONG:
		size = 0
		for i in 8:
			size = size << 8 | _in[_at + 1 + i]
	var most := _MAX_COMMAND if flags & _COMMAND else MAX_MESSAGE - _parts.size()
	if flags & 0xF8 or (flags & _COMMAND and flags & _MORE) or size < 0 or size > most:
		_fail("the engine sent a frame that is none, or too large (%d bytes)" % size)
		return Vector2i(-1, 0)
	_needed = n_head + size
	return Vector2i(size, _at + n_head) if n_left >= _needed else Vector2i(-1, 0)


static func _command_name(body: PackedByteArray) -> String:
	if body.is_empty() or body.size() < 1 + body[0]:
		return ""
	for i in range(1, 1 + body[0]):
		if body[i] < 0x20 or body[i] > 0x7E:
			return ""
	return body.slice(1, 1 + body[0]).get_string_from_ascii()


func _obey(command: PackedByteArray) -> void:
	match _command_name(command):
		"PING":
			var pong := PackedByteArray([4])
			pong.append_array("PONG".to_ascii_buffer())
			pong.append_array(command.slice(7, 7 + 16))
			_put_frame(_COMMAND, pong)
			_flush()
		"ERROR":
			_fail("the engine ended the connection")


func _put_frame(flags: int, body: PackedByteArray) -> void:
	if body.size() < 256:
		_out.append_array([flags, body.size()])
	else:
		var head := PackedByteArray()
		head.resize(8)
		head.encode_u64(0, body.size())
		head.reverse()
		_out.append(flags | _LONG)
		_out.append_array(head)
	_out.append_array(body)
	if _out.size() > MAX_UNSENT:
		_fail("the engine reads nothing any more")


func _flush() -> void:
	if _out.is_empty() or _tcp == null:
		return
	var sent := _tcp.put_partial_data(_out)
	if sent[0] != OK:
		_is_over = true
	elif sent[1] > 0:
		_out = _out.slice(sent[1])


func _compact() -> void:
	if _at == _in.size():
		_in.clear()
		_at = 0
	elif _at > _READ_AT_ONCE:
		_in = _in.slice(_at)
		_at = 0


func _fail(why: String) -> void:
	error = why
	_drop()


func _drop() -> void:
	if _tcp != null:
		_tcp.disconnect_from_host()
		_tcp = null
	state = State.CLOSED
	_out.clear()
