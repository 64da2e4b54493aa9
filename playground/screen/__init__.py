"""The screen: a Textual app that starts runs, follows them and steers them. Imports no torch."""
