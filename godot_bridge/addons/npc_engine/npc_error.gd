@tool
class_name NPCError
extends RefCounted
## What went wrong, and what to do about it: for logs and developers, not for players.
##
## The codes of the engine are those of its protocol: [code]bad_message[/code],
## [code]unauthorized[/code], [code]protocol_version[/code], [code]too_large[/code],
## [code]unknown_npc[/code], [code]npc_exists[/code], [code]bad_card[/code],
## [code]unknown_slot[/code], [code]bad_snapshot[/code], [code]busy[/code],
## [code]unknown_target[/code], [code]internal[/code].
## [br]Those of the addon: [code]not_started[/code], [code]stopped[/code],
## [code]unreachable[/code], [code]bad_endpoint[/code],
## [code]connection_lost[/code], [code]bad_reply[/code],
## [code]executable_not_found[/code], [code]model_not_found[/code], [code]engine_exited[/code],
## [code]timeout[/code], [code]no_engine[/code].
## More may come: treat a code that you do not know as [code]internal[/code].

## A short word for programs.
var code := "internal"
## What happened, with the value that caused it.
var message := ""
## What to do.
var help := ""


## Returns an error with these words.
static func make(new_code: String, new_message: String, new_help: String) -> NPCError:
	var error := NPCError.new()
	error.code = new_code
	error.message = new_message
	error.help = new_help
	return error


func _to_string() -> String:
	return "%s: %s %s" % [code, message, help]
