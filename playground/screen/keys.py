"""The one table of what a person can do: name, key and words are the same in the footer, the palette and the help."""

from __future__ import annotations

import dataclasses

from textual.binding import Binding, BindingType


@dataclasses.dataclass(frozen=True)
class Action:
    name: str
    """`action_NAME` of the app."""
    key: str
    """Textual's names for the keys, parted by commas."""
    words: str
    """A word or two for the footer."""
    shown: str
    """The key as a person reads it."""
    help: str
    """One line for the palette and the help."""
    footer: int = 0
    """Rank in the footer, 1 first; 0: not there."""


ACTIONS = (
    Action("train", "space", "train/pause", "space", "Start training with the settings of the form; or pause, or go on", 1),
    Action("step_once", "s", "step", "s", "Train one single step, then pause", 2),
    Action("reset", "r", "reset", "r", "End this run, which stays on disk, and start over: same seed, same initial weights", 3),
    Action("stage", "slash", "act", "/", "Go to the tab's action: the prompt, the pad, the plane, the environment", 4),
    Action("faster", "plus,equals_sign", "faster", "+", "Lift the limit on steps per second", 5),
    Action("slower", "minus", "slower", "-", "Slow training down, to watch it", 6),
    Action("save", "ctrl+s", "save", "ctrl+s", "Write a checkpoint now", 10),
    Action("load", "o", "load", "o", "Open a shipped model or one of your runs", 9),
    Action("notes", "n", "notes", "n", "What this architecture is, what to try, what to look for", 7),
    Action("maximise", "m", "maximise", "m", "The focused panel over the whole window; escape brings the others back", 8),
    Action("help", "f1,question_mark", "help", "f1", "What is focused, and every key", 11),
    Action("command_palette", "ctrl+p", "palette", "ctrl+p", "Every action by name", 12),
    Action("leave", "q,ctrl+q", "leave", "q", "Leave the playground; training can go on without it", 13),
    Action("stop", "ctrl+x", "stop", "ctrl+x", "End this run after a last checkpoint"),
    Action("defaults", "ctrl+r", "defaults", "ctrl+r", "Every setting back to its default"),
    Action("next_tab", "ctrl+right,greater_than_sign,ctrl+pagedown", "next tab", ">", "The architecture to the right"),
    Action("previous_tab", "ctrl+left,less_than_sign,ctrl+pageup", "previous tab", "<", "The architecture to the left"),
    Action("next_theme", "ctrl+t", "theme", "ctrl+t", "Other colours; the choice is kept"),
    Action("page('1')", "1", "settings", "1", "In a small window: the page with the settings"),
    Action("page('2')", "2", "curves", "2", "In a small window: the page with the curves"),
    Action("page('3')", "3", "inside", "3", "In a small window: the page that looks inside"),
    Action("page('4')", "4", "action", "4", "In a small window: the page to act on"),
)


def bindings() -> list[BindingType]:
    """The table as the app's bindings."""
    return [
        Binding(action.key, action.name, action.words, key_display=action.shown, show=bool(action.footer), tooltip=action.help)
        for action in ACTIONS
    ]


def named(name: str) -> Action:
    """Raises `KeyError`."""
    return {action.name: action for action in ACTIONS}[name]
