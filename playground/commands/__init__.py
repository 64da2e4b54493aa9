"""What each command of `dlplay` does with its flags; `cli.py` puts them together. Imports no torch before it is needed."""
