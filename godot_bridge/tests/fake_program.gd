extends RefCounted
## Makes a program that starts fake_server.py, whatever its arguments are.


## Returns its path in `folder`; `more` are arguments that the server always gets.
static func make(folder: String, python: String, more := "") -> String:
	var path := folder.path_join("npc-engine")
	var server := ProjectSettings.globalize_path("res://tests/fake_server.py")
	var file := FileAccess.open(path, FileAccess.WRITE)
	file.store_string('#!/bin/sh\nexec "%s" "%s" "$@" %s\n' % [python, server, more])
	file.close()
	FileAccess.set_unix_permissions(path, 0x1ED)  # rwxr-xr-x
	return path
