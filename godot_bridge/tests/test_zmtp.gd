extends "res://tests/case.gd"
## The transport against a server in the same process that sends what we like, byte by byte if need
## be, and the client against frames that no engine sends.

const Client := preload("res://addons/npc_engine/client.gd")
const MsgpackCase := preload("res://tests/test_msgpack.gd")
const Msgpack := preload("res://addons/npc_engine/msgpack.gd")
const Zmtp := preload("res://addons/npc_engine/zmtp.gd")

const N_STREAMS := 400

var _server := TCPServer.new()
var _peer: StreamPeerTCP
var _zmtp := Zmtp.new()


func before() -> void:
	_server.listen(0, "127.0.0.1")


func after() -> void:
	_zmtp.close()
	_server.stop()
	super()


## What a ROUTER sends first: greeting and READY.
static func hello() -> PackedByteArray:
	var bytes := PackedByteArray([0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1])
	bytes.append_array("NULL".to_ascii_buffer())
	bytes.resize(64)
	var ready := PackedByteArray([5])
	ready.append_array("READY".to_ascii_buffer())
	ready.append(11)
	ready.append_array("Socket-Type".to_ascii_buffer())
	ready.append_array([0, 0, 0, 6])
	ready.append_array("ROUTER".to_ascii_buffer())
	return bytes + frame(4, ready)


static func frame(flags: int, body: PackedByteArray) -> PackedByteArray:
	if body.size() < 256:
		return PackedByteArray([flags, body.size()]) + body
	var size := StreamPeerBuffer.new()
	size.big_endian = true
	size.put_u64(body.size())
	return PackedByteArray([flags | 2]) + size.data_array + body


func _endpoint() -> String:
	return "tcp://127.0.0.1:%d" % _server.get_local_port()


func _connect() -> void:
	_zmtp.open(_endpoint())
	await until(_server.is_connection_available, "a connection")
	_peer = _server.take_connection()
	_peer.set_no_delay(true)


func _polled(condition: Callable, what: String) -> bool:
	var poll := func() -> bool:
		_zmtp.poll()
		return condition.call()
	return await until(poll, what, 5.0)


func _connected() -> void:
	await _connect()
	_peer.put_data(hello())
	await _polled(func() -> bool: return _zmtp.state == Zmtp.State.READY, "a handshake")


func _next() -> PackedByteArray:
	var box: Array[PackedByteArray] = [PackedByteArray()]
	var take := func() -> bool:
		box[0] = _zmtp.take()
		return not box[0].is_empty() or _zmtp.state == Zmtp.State.CLOSED
	await _polled(take, "a message")
	return box[0]


## TCP throws away what was sent by one who closes without having read all.
func _hang_up() -> void:
	var read := func() -> bool:
		return _peer.get_available_bytes() >= 64 + 27 or _zmtp.state == Zmtp.State.CLOSED
	await _polled(read, "its handshake")
	_peer.get_data(_peer.get_available_bytes())
	_peer.disconnect_from_host()


func test_what_it_sends() -> void:
	await _connected()
	_zmtp.send("abc".to_ascii_buffer())
	var long := PackedByteArray()
	long.resize(70_000)
	_zmtp.send(long)
	var all := func() -> bool: return _peer.get_available_bytes() > 64 + 27 + 5 + 70_000
	await _polled(all, "bytes")
	var sent: PackedByteArray = _peer.get_partial_data(100_000)[1]
	equal(sent[0], 0xFF)
	equal(sent.slice(9, 16), PackedByteArray([0x7F, 3, 1, 78, 85, 76, 76]), "the greeting")
	var rest := sent.slice(64)
	equal(rest.slice(0, 2), PackedByteArray([4, rest.size() - 2 - 5 - 70_009]), "a command")
	equal(rest.slice(2, 8), PackedByteArray([5, 82, 69, 65, 68, 89]), "READY")
	equal(sent.slice(sent.size() - 70_014, -70_009), frame(0, "abc".to_ascii_buffer()), "short")
	equal(sent.slice(-70_009, -70_000), PackedByteArray([2, 0, 0, 0, 0, 0, 1, 0x11, 0x70]), "long")


func test_byte_by_byte() -> void:
	await _connect()
	var words := PackedByteArray([1, 2, 3])
	for byte in hello() + frame(0, words) + frame(1, words) + frame(0, words):
		_peer.put_data(PackedByteArray([byte]))
		_zmtp.poll()
	equal(await _next(), words)
	equal(await _next(), words + words, "a message of two frames")


func test_a_large_message() -> void:
	await _connected()
	var large := PackedByteArray()
	large.resize(1 << 20)
	large.fill(7)
	var bytes := frame(0, large)
	var at := [0]
	var feed := func() -> bool:
		at[0] += _peer.put_partial_data(bytes.slice(at[0], at[0] + 60_000))[1]
		return at[0] == bytes.size()
	await _polled(feed, "all is sent")
	equal(await _next() == large, true)


func test_ping_is_answered() -> void:
	await _connected()
	await _polled(func() -> bool: return _peer.get_available_bytes() >= 64 + 27, "its handshake")
	_peer.get_data(_peer.get_available_bytes())
	_peer.put_data(frame(4, PackedByteArray([4, 80, 73, 78, 71, 0, 100, 9, 9])))
	_peer.put_data(frame(0, PackedByteArray([1])))
	equal(await _next(), PackedByteArray([1]))
	await until(func() -> bool: return _peer.get_available_bytes() > 0, "a pong")
	var pong: PackedByteArray = _peer.get_partial_data(100)[1]
	equal(pong, frame(4, PackedByteArray([4, 80, 79, 78, 71, 9, 9])))


func test_what_came_before_the_end_is_handed_out() -> void:
	await _connected()
	for i in 20:
		_peer.put_data(frame(0, PackedByteArray([i])))
	await _hang_up()
	for i in 20:
		equal(await _next(), PackedByteArray([i]))
	equal(await _next(), PackedByteArray())
	check(_zmtp.error.contains("closed"), _zmtp.error)


func test_it_reads_no_more_than_it_can_hand_out() -> void:
	await _connected()
	var flood := frame(0, "x".repeat(1000).to_ascii_buffer())
	for _i in 3000:
		_peer.put_partial_data(flood)
		_zmtp.poll()
	check(_zmtp._in.size() < 200_000, "%d bytes are kept" % _zmtp._in.size())


func test_those_that_are_no_engine() -> void:
	for greeting: PackedByteArray in [
		"HTTP/1.1 400 Bad Request\r\n\r\n".to_ascii_buffer(),
		hello().slice(0, 10) + PackedByteArray([1]) + hello().slice(11),
		hello().slice(0, 12) + "CURVE".to_ascii_buffer() + hello().slice(17),
		hello().slice(0, 64) + frame(0, PackedByteArray([1])),
		hello() + PackedByteArray([2, 0x7F, 0, 0, 0, 0, 0, 0, 0]),
		hello() + PackedByteArray([2, 0xFF, 0, 0, 0, 0, 0, 0, 0]),
		hello() + PackedByteArray([0x80, 1, 1]),
		hello() + frame(4, PackedByteArray([5, 69, 82, 82, 79, 82, 1, 65])),
	]:
		await _connect()
		_peer.put_data(greeting)
		equal(await _next(), PackedByteArray())
		check(not _zmtp.error.is_empty(), "an error for %s" % greeting)
		_zmtp.close()


func test_endpoints() -> void:
	equal(Zmtp._address("tcp://[::1]:57"), ["::1", 57])
	equal(Zmtp._address("tcp://localhost:5757"), ["127.0.0.1", 5757])
	for bad: String in [
		"", "tcp://127.0.0.1", "ipc:///x", "tcp://*:1", "tcp://a:0", "tcp://a:65536"
	]:
		_zmtp.open(bad)
		check(_zmtp.error.contains("endpoint"), "an error for '%s'" % bad)


func test_mutated_streams() -> void:
	var random := RandomNumberGenerator.new()
	random.seed = 11
	var original := hello()
	for i in 6:
		original += frame(i & 1, "message".to_ascii_buffer())
	var n_messages := 0
	for _i in N_STREAMS:
		await _connect()
		_peer.put_data(MsgpackCase.mutated(original, random))
		await _hang_up()
		var message := await _next()
		while not message.is_empty():
			n_messages += 1
			message = await _next()
		equal(_zmtp.state, Zmtp.State.CLOSED)
	check(n_messages > 100, "some still say something: %d" % n_messages)


## Every frame is a reply or the end of the connection; no answer is left open.
func test_mutated_replies() -> void:
	var random := RandomNumberGenerator.new()
	random.seed = 13
	var codec := Msgpack.new()
	var originals: Array[PackedByteArray] = []
	var vectors := MsgpackCase.frames()
	for title: String in vectors:
		if title.begins_with("reply-"):
			var record: Dictionary = codec.decode(vectors[title])
			record["id"] = "~"
			originals.append(codec.encode(record))
	var n_failed := 0
	for i in MsgpackCase.N_MUTATIONS:
		var answer: NPCAnswer = [NPCAnswer.new(), NPCReply.new(), NPCScene.new()][i % 3]
		answer.id = "~"
		answer.request = {"type": ["say", "hello"][i % 2]}
		var client := Client.new()
		client.state = Client.State.READY
		client._open["~"] = answer
		client._heed(MsgpackCase.mutated(originals[random.randi() % originals.size()], random))
		client.close(NPCError.new())
		check(answer.is_finished or answer.request["type"] == "hello", "an answer is left open")
		n_failed += int(answer.error != null)
	check(n_failed > 100, "some fail: %d" % n_failed)
