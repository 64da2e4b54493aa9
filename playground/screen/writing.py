"""Letting the model write on, one word at a time, so that each word appears as it comes and can be stopped behind any of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from dlplay.engine.card import Card, PanelCard
from dlplay.engine.panels import Tokens
from dlplay.engine.settings import Field, fields
from dlplay.engine.stages import Prompt
from dlplay.runs.client import RunError
from dlplay.screen.passage import LONGEST, Passage
from dlplay.screen.prompt_words import continuation
from dlplay.screen.stage import Ask

FULL = f"the text may hold {LONGEST:,} characters; undo, or begin a new one"


class Writer:
    """Continues a passage with the answers of the panel `question`, whose option `prompt` takes the text."""

    def __init__(self, passage: Passage, question: PanelCard, prompt: str) -> None:
        self.question = question
        self.fields = fields(question.options)
        self.writing = False
        self._passage = passage
        self._prompt = prompt
        self._turn = 0

    def stop(self) -> None:
        """No further word; an answer that is on its way is dropped."""
        self._turn += 1
        self.writing = False

    async def write(self, ask: Ask, count: int, options: Mapping[str, Any], appended: Callable[[], None]) -> str:
        """Append up to `count` words, and call `appended` after each. Returns what stood in the way, in words; mostly nothing.

        Ends early when the passage ends, is full, is changed by someone else, or `stop` is called.
        """
        self._turn += 1
        turn, self.writing = self._turn, True
        problem = ""
        for _ in range(count):
            before = self._passage.text
            try:
                panel = await ask(self.question.name, self._asked_with(before, options))
            except (RunError, OSError) as error:
                problem = str(error)
                break
            if turn != self._turn:
                return ""
            if self._passage.text != before or not isinstance(panel, Tokens):
                break
            text, value = continuation(before, panel)
            if not self._passage.append(text, value):
                problem = FULL
                break
            appended()
            if panel.ended or not text:
                break
        if turn != self._turn:
            return ""
        self.stop()
        return problem

    def _asked_with(self, text: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """One word behind `text`; random numbers of its own, or the same text would always go on the same way."""
        asked: dict[str, Any] = {}
        for field in self.fields:
            if field.name == self._prompt:
                asked[field.name] = text
            elif field.name == "words":
                asked[field.name] = 1
            elif field.name.endswith("seed"):
                asked[field.name] = random.randrange(int(field.high or 2**31))
            elif field.name in options:
                asked[field.name] = options[field.name]
        return asked


def length_of(card: Card) -> list[Field]:
    """The option for how many words are written at a time, where the generating panel has it."""
    if not isinstance(card.stage, Prompt) or not card.stage.generate:
        return []
    return [field for field in fields(card.panel(card.stage.generate).options) if field.name == "words"]
