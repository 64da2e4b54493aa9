"""Activations of a shipped language model as data, and what a feature of them does to its answers."""
