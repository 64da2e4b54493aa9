"""Panels that every architecture has: what its model is built of, and what each part of it does. They ask the `Task` and know no room."""
