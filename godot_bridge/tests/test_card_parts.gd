extends "res://tests/case.gd"
## Of a card goes to the engine what it reads; what is too large nevertheless is named.

const CardParts := preload("res://addons/npc_engine/card_parts.gd")


func test_what_is_sent() -> void:
	var used := {"name": "Mara", "description": "Keeps.", "persona": "x".repeat(100_000)}
	used["creator_notes"] = "Mine."
	var whole := used.duplicate()
	whole["assets"] = [{"uri": "data:," + "A".repeat(3_000_000)}]
	whole["character_book"] = {"entries": ["x".repeat(70_000)]}
	equal(CardParts.to_send(whole), used, "flat")
	var wrapped := {"spec": "chara_card_v3", "data": whole, "avatar": whole["assets"]}
	equal(CardParts.to_send(wrapped), {"spec": "chara_card_v3", "data": used}, "wrapped")
	check(whole.has("assets"), "the caller's card stays as it is")


func test_what_is_too_large_is_named() -> void:
	var card := {"data": {"name": "Mara", "description": "x".repeat(2_000_000)}}
	equal(CardParts.heaviest({"type": "spawn", "card": card}), "card.data.description")
	equal(CardParts.heaviest({"type": "say", "text": "x".repeat(90)}), "text")
	equal(CardParts.heaviest({}), "")


func test_over_the_wire() -> void:
	var engine := make_engine()
	if not await started(engine):
		return
	var card := {"name": "Mara", "assets": ["A".repeat(3_000_000)]}
	var spawned := await settled(engine.request("spawn", {"npc": "mara", "card": card}).completed)
	check(spawned.ok, str(spawned.error))
	card["description"] = "x".repeat(2_000_000)
	var refused := await settled(engine.request("spawn", {"npc": "bo", "card": card}).completed)
	equal(refused.error.code, "too_large")
	check(refused.error.message.contains("'card.description'"), refused.error.message)
