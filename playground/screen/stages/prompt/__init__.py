"""The prompt: a text that a person and the model write together."""
