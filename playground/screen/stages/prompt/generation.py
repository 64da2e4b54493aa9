"""Text generation, one word at a time, so that each word appears as it is generated and generation can stop after any of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from dlplay.engine.card import Card, PanelCard
from dlplay.engine.panels import Tokens
from dlplay.engine.settings import Field, fields
from dlplay.engine.stages import Prompt
from dlplay.runs.client import RunError
from dlplay.screen.stages.prompt.passage import Passage
from dlplay.screen.stages.prompt_line import MAX_LENGTH
from dlplay.screen.stages.stage import Ask

FULL = f"the text is full ({MAX_LENGTH:,} characters): undo, or start a new one"


class Generator:
    """Continues a passage with the answers of the panel `question`, whose option `prompt` takes the text."""

    def __init__(self, passage: Passage, question: PanelCard, prompt: str) -> None:
        self.question = question
        self.fields = fields(question.options)
        self.running = False
        self._passage = passage
        self._prompt = prompt
        self._call = 0

    def stop(self) -> None:
        """Append nothing more; an answer that is on its way is dropped."""
        self._call += 1
        self.running = False

    async def generate(self, ask: Ask, count: int, options: Mapping[str, Any], on_append: Callable[[], None]) -> str:
        """Append up to `count` words, and call `on_append` after each. Returns the problem that ended it, usually none.

        Ends early when the model ends the text, when it is full or is changed by someone else, and when `stop` is called.
        """
        self._call += 1
        call, self.running = self._call, True
        problem = ""
        for _ in range(count):
            before = self._passage.text
            try:
                panel = await ask(self.question.name, self._question_options(before, options))
            except (RunError, OSError) as error:
                problem = str(error)
                break
            if call != self._call:
                return ""
            if self._passage.text != before or not isinstance(panel, Tokens):
                break
            text, value = continuation(before, panel)
            if not self._passage.append(text, value):
                problem = FULL
                break
            on_append()
            if panel.ended or not text:
                break
        if call != self._call:
            return ""
        self.stop()
        return problem

    def _question_options(self, text: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one word after `text`, with a new seed each time: with the same seed, the same text would always continue alike."""
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
        return asked | ({"do": options["do"]} if options.get("do") else {})


def continuation(prompt: str, panel: Tokens) -> tuple[str, float | None]:
    """The text that an answer appends to the prompt, and the probability of its last word."""
    value = panel.values[-1] if panel.values else None
    text = panel.text or " ".join(panel.words)
    return (text.removeprefix(" ") if prompt[-1:].isspace() else text), value


def length_option(card: Card) -> list[Field]:
    """The option for how many words are generated at a time, if the generating panel has it."""
    if not isinstance(card.stage, Prompt) or not card.stage.generate:
        return []
    return [field for field in fields(card.panel(card.stage.generate).options) if field.name == "words"]
