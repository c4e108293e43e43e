"""`python -m npc_engine` is `npc-engine`."""

from npc_engine.cli.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
