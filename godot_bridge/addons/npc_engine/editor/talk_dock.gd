@tool
extends VBoxContainer
## The dock "Talk": a chat with the character whose button Talk was pressed in the inspector.
##
## It shows what its session tells. Its words are shown as they are: a reply cannot format itself.

const Session := preload("talk_session.gd")

const _HINT := "Select an NPCCharacter, and press Talk in the inspector."
const _POLL_USEC := 4000

var _session := Session.new()
var _source: Node
var _who := ""
var _is_line_open := false
var _title := Label.new()
var _again := Button.new()
var _stop := Button.new()
var _talk := RichTextLabel.new()
var _status := Label.new()
var _entry := LineEdit.new()
var _say := Button.new()


func _init() -> void:
	name = "Talk"
	custom_minimum_size = Vector2(160, 120)
	_build_head()
	_build_talk()
	_build_entry()
	_session.begun.connect(_on_begun)
	_session.line_spoken.connect(_on_line_spoken)
	_session.gesture.connect(_on_gesture)
	_session.reply_finished.connect(_on_reply_finished)
	_session.failed.connect(_on_failed)
	_show_state()


func _notification(what: int) -> void:
	if what == NOTIFICATION_PREDELETE:
		_session.close()


func _process(_delta: float) -> void:
	_session.poll(_POLL_USEC)
	_show_state()


## Begins a talk with this node, an [NPCCharacter].
func talk_with(source: Node) -> void:
	_source = source
	_who = str(source.name)
	_talk.clear()
	_is_line_open = false
	set_process(true)
	_session.begin(source)
	_show_state()
	_entry.grab_focus.call_deferred()


## Brings the dock to the front, wherever the user has put it.
func reveal() -> void:
	var page: Control = self
	while page != null:
		var tabs := page.get_parent() as TabContainer
		if tabs != null:
			tabs.current_tab = tabs.get_tab_idx_from_control(page)
		page = page.get_parent() as Control


func _build_head() -> void:
	var row := HBoxContainer.new()
	_title.size_flags_horizontal = SIZE_EXPAND_FILL
	_title.text_overrun_behavior = TextServer.OVERRUN_TRIM_ELLIPSIS
	_again.text = "Start over"
	_again.tooltip_text = "Forgets the talk, and reads again who the character is."
	_again.pressed.connect(_on_again_pressed)
	_stop.text = "Stop"
	_stop.tooltip_text = "Ends the talk, and the engine if this dock has started it."
	_stop.pressed.connect(_on_stop_pressed)
	for part: Control in [_title, _again, _stop]:
		row.add_child(part)
	add_child(row)


func _build_talk() -> void:
	_talk.size_flags_vertical = SIZE_EXPAND_FILL
	_talk.scroll_following = true
	_talk.selection_enabled = true
	_talk.context_menu_enabled = true
	_talk.focus_mode = FOCUS_CLICK
	_talk.add_text(_HINT)
	_status.text_overrun_behavior = TextServer.OVERRUN_TRIM_ELLIPSIS
	_status.modulate.a = 0.7
	add_child(_talk)
	add_child(_status)


func _build_entry() -> void:
	var row := HBoxContainer.new()
	_entry.placeholder_text = "Say something"
	_entry.size_flags_horizontal = SIZE_EXPAND_FILL
	_entry.keep_editing_on_text_submit = true
	_entry.text_submitted.connect(_on_text_submitted)
	_say.text = "Say"
	_say.pressed.connect(func() -> void: _on_text_submitted(_entry.text))
	row.add_child(_entry)
	row.add_child(_say)
	add_child(row)


func _show_state() -> void:
	var may_say := _session.state == Session.State.READY
	_title.text = _who
	_status.text = _session.status()
	_entry.editable = may_say
	_say.disabled = not may_say
	_again.disabled = _who.is_empty()
	_stop.disabled = _session.state == Session.State.IDLE
	set_process(not _session.is_idle())


func _on_text_submitted(text: String) -> void:
	if text.strip_edges().is_empty() or _session.state != Session.State.READY:
		return
	_entry.clear()
	_begin_line("You")
	_talk.add_text(text)
	_is_line_open = false
	_session.say(text)
	_show_state()


func _on_again_pressed() -> void:
	if is_instance_valid(_source):
		talk_with(_source)
		return
	_session.close()
	_tell("'%s' is no longer open. Select it again, and press Talk." % _who)


func _on_stop_pressed() -> void:
	_session.close()
	_tell("The talk was ended.")


func _on_begun(greeting: String) -> void:
	if not greeting.is_empty():
		_on_line_spoken(greeting)
	_is_line_open = false
	_show_state()
	if _entry.has_focus():
		_entry.edit()


func _on_line_spoken(line: String) -> void:
	_go_on()
	_talk.add_text(line)


func _on_gesture(text: String) -> void:
	_go_on()
	_talk.push_italics()
	_talk.add_text("*%s*" % text)
	_talk.pop()


func _on_reply_finished(reply: NPCReply) -> void:
	_is_line_open = false
	var figures := "(%.1f s to the first word, %d tokens a second)"
	var ttft_s := float(reply.stats.get("ttft_ms", 0.0)) / 1000.0
	_talk.push_color(Color(_talk.get_theme_color("default_color"), 0.6))
	_tell(figures % [ttft_s, roundi(reply.stats.get("decode_tps", 0.0))])
	_talk.pop()


func _on_failed(error: NPCError) -> void:
	_is_line_open = false
	_talk.push_color(_color_of_errors())
	_tell("%s %s" % [error.message, error.help])
	_talk.pop()


## What it says in one reply stands in one paragraph.
func _go_on() -> void:
	if _is_line_open:
		_talk.add_text(" ")
	else:
		_begin_line(_who)
	_is_line_open = true


func _begin_line(speaker: String) -> void:
	_end_paragraph()
	_talk.push_bold()
	_talk.add_text(speaker + ": ")
	_talk.pop()


func _tell(words: String) -> void:
	_end_paragraph()
	_talk.add_text(words)
	_show_state()


func _end_paragraph() -> void:
	if not _talk.get_parsed_text().is_empty():
		_talk.newline()


func _color_of_errors() -> Color:
	if has_theme_color("error_color", "Editor"):
		return get_theme_color("error_color", "Editor")
	return Color.SALMON
