"""Lessons: short texts whose steps do something, ask what will be seen, and state it as a claim that is checked. Imports no torch.

A lesson is data in its room's folder, `playground/architectures/ROOM/lessons/NAME.toml`. `lesson` says what may stand in it, `condition`
what a claim is, `found` reads and checks all of them, `evidence` is what a claim is about, and `player` plays one without a screen.
"""
