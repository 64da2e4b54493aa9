"""What is exported: a run, a shipped model or a checkpoint folder, opened as far as a format needs it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlplay import architectures
from dlplay.checkpoints.shipped import shipped
from dlplay.checkpoints.store import Checkpoint
from dlplay.engine.card import Card
from dlplay.engine.events import DurableEvent
from dlplay.engine.settings import Settings, SettingsError, make, without_code
from dlplay.runs import directory, origin
from dlplay.runs.trust import agreed

if TYPE_CHECKING:
    from dlplay.engine.task import Task


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained model, or a run."""

    text: str
    """What was typed."""
    runs_dir: Path
    part: str = ""
    """Which of the model's nets; empty: the main one."""
    trust_code: bool = False
    """Import the modules that its settings name."""

    @property
    def run(self) -> directory.RunDirectory | None:
        """The run of that name; None for a shipped model (whose names come first, as in `origin.find`) or a folder."""
        if self.text in shipped():
            return None
        return directory.find(self.runs_dir, self.text) if "/" not in self.text and (self.runs_dir / self.text).is_dir() else None

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, read and verified. Raises `SettingsError` or `CheckpointError`."""
        return origin.find(self.text, self.runs_dir)

    def card(self, checkpoint: Checkpoint) -> Card:
        """The architecture's card. Raises `SettingsError` for an unknown one."""
        name = str(checkpoint.meta.get("architecture", ""))
        if name not in architectures.cards():
            raise SettingsError(f"{self.text} is of {name or 'an unknown architecture'}, which this version of dlplay does not have")
        return architectures.card(name)

    def settings(self, card: Card, checkpoint: Checkpoint) -> Settings:
        """All settings that the checkpoint was trained with."""
        return self.checked(card, origin.all_settings(checkpoint))

    def checked(self, card: Card, values: dict[str, Any]) -> Settings:
        """Settings of these values. Raises `SettingsError`, also for code to import that nobody has agreed to, and for interventions."""
        own_code = agreed(card, values, self.text, trusted=self.trust_code)
        settings = make(card.settings, without_code(card.settings, values) | own_code, lenient=True)
        if settings.train_with:
            raise SettingsError(
                f"{self.text[:200]} was trained with interventions ({settings.train_with[:80]}), which nothing exported would have; "
                "export a run without --train-with"
            )
        return settings

    def task(self) -> tuple[Card, Task[Any]]:
        """The model with its weights, on the CPU and in eval mode."""
        from dlplay.runs import process

        checkpoint = self.checkpoint()
        card = self.card(checkpoint)
        settings = dataclasses.replace(self.settings(card, checkpoint), device="cpu")
        task = process.load(card, checkpoint, settings)
        for model in task.models.values():
            model.eval()
        return card, task

    def events(self) -> list[DurableEvent]:
        """The run's events, with each step once. Raises `SettingsError` when it is not a run, or has no journal yet."""
        run = self.run
        if run is None:
            raise SettingsError(f"{self.text[:200]} is not a run, and only runs have curves; dlplay runs lists them")
        from dlplay.runs.journal import history

        if not run.journal_path.exists():
            raise SettingsError(f"{run.name} has recorded nothing yet; train it first: dlplay resume {run.name} --headless")
        return history(run.journal_path)
