"""The engine: the contract `Task`, the loop that trains it, and its events, commands, panels and settings."""
