extends SceneTree
## Runs the tests: every `test_*` method of every tests/test_*.gd, one after the other.
##
## [codeblock]
## godot --headless --path godot_bridge --script res://tests/run.gd -- [part of a name ...]
## [/codeblock]
## A test fails by a check, by any error in the log, or by taking too long. Start it under
## `timeout`: a script in an endless loop stops this watchdog, too.

const FOLDER := "res://tests"

var _log := CountingLogger.new()
var _n_run := 0
var _failed: PackedStringArray = []


## Counts what Godot calls an error; warnings are none.
class CountingLogger:
	extends Logger
	var n_errors := 0
	var _lock := Mutex.new()

	func _log_error(
		_function: String,
		_file: String,
		_line: int,
		_code: String,
		_rationale: String,
		_editor_notify: bool,
		error_type: int,
		_backtraces: Array[ScriptBacktrace]
	) -> void:
		if error_type != ERROR_TYPE_WARNING:
			_lock.lock()
			n_errors += 1
			_lock.unlock()


func _initialize() -> void:
	OS.add_logger(_log)
	Engine.max_fps = 120
	_run.call_deferred()


func _run() -> void:
	_check_scripts("res://")
	for file in DirAccess.get_files_at(FOLDER):
		if file.begins_with("test_") and file.ends_with(".gd"):
			await _run_file(file)
	for line in _failed:
		print("FAILED  ", line)
	print("%d tests, %d failures" % [_n_run, _failed.size()])
	OS.remove_logger(_log)
	quit(1 if _failed or _n_run == 0 else 0)


## Every script loads, and every one that is meant to be made can be made.
func _check_scripts(folder: String) -> void:
	_n_run += 1
	var before := _log.n_errors
	for file in DirAccess.get_files_at(folder):
		if file.ends_with(".gd"):
			var script := load(folder.path_join(file)) as GDScript
			if script == null or not script.can_instantiate():
				_failed.append("%s does not load" % folder.path_join(file))
	for inner in DirAccess.get_directories_at(folder):
		if not inner.begins_with("."):
			_check_scripts(folder.path_join(inner))
	if _log.n_errors > before:
		_failed.append("%s: loading its scripts logs errors" % folder)


func _run_file(file: String) -> void:
	var script := load(FOLDER.path_join(file)) as GDScript
	if script == null or not script.can_instantiate():
		return
	var titles: PackedStringArray = []
	for method: Dictionary in script.get_script_method_list():
		var title := "%s::%s" % [file.get_basename(), method["name"]]
		if str(method["name"]).begins_with("test_") and _is_wanted(title):
			titles.append(title)
	for title in titles:
		await _run_test(script, title, title == titles[-1])


func _is_wanted(title: String) -> bool:
	var wanted := OS.get_cmdline_user_args()
	for part in wanted:
		if title.contains(part):
			return true
	return wanted.is_empty()


func _run_test(script: GDScript, title: String, is_last: bool) -> void:
	var test: Node = script.new()
	test.is_last = is_last
	root.add_child(test)
	var before := _log.n_errors
	var from := Time.get_ticks_msec()
	var is_over: Array[bool] = [false]
	_call(test, title.get_slice("::", 1), is_over)
	while not is_over[0] and Time.get_ticks_msec() - from < test.limit_s * 1000.0:
		await process_frame
	if not is_over[0]:
		test.failures.append("no end after %d s" % test.limit_s)
	await test.after()
	if _log.n_errors > before:
		test.failures.append("%d errors in the log" % (_log.n_errors - before))
	_n_run += 1
	var verdict := "FAIL" if test.failures else "ok  "
	print("%s  %s  %d ms" % [verdict, title, Time.get_ticks_msec() - from])
	for failure: String in test.failures:
		_failed.append("%s: %s" % [title, failure])
	test.queue_free()
	await process_frame


func _call(test: Node, method: String, is_over: Array[bool]) -> void:
	await test.before()
	await test.call(method)
	is_over[0] = true
