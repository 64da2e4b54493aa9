"""The engine: a contract `Task`, the loop that drives it, and the events, commands, panels and settings it speaks in."""
