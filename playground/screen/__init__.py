"""The screen: a Textual app that starts runs, shows them and controls them. Imports no torch."""
