"""Masked words and the next word by transformers and its `Trainer`, and by the playground's own nets: the same sizes, batches, words.

`python -m benchmarks.hf_trainer bert|gpt trainer|own STEPS THREADS` prints how long the steps took, on the text and at the size of the
architecture's defaults. The `Trainer` gets its collator (for BERT `DataCollatorForLanguageModeling`), our dropout, AdamW and no logging,
saving or evaluation; its rows are whole windows of the text, tokenized beforehand, so that it is timed at training alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from benchmarks.timing import Stopwatch
from dlplay import architectures
from dlplay.engine.device import prepare
from dlplay.engine.settings import make

WARM_UP = 5


class Windows(torch.utils.data.Dataset[dict[str, Any]]):
    """As many windows of a text as are asked for, from random places."""

    def __init__(self, text: torch.Tensor, length: int, count: int, cls: int | None, sep: int | None) -> None:
        self._text, self._length, self._ends = text, length, (cls, sep)
        self._starts = torch.randint(len(text) - length, (count,), generator=torch.Generator().manual_seed(0)).tolist()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> dict[str, Any]:
        start = self._starts[number]
        cls, sep = self._ends
        if cls is None or sep is None:
            return {"input_ids": self._text[start : start + self._length]}
        return {"input_ids": torch.cat([torch.tensor([cls]), self._text[start : start + self._length - 2], torch.tensor([sep])])}


def trainer_loop(architecture: str, steps: int) -> None:
    """`Trainer.train`, timed from the step after the warm-up on."""
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        GPT2Config,
        GPT2LMHeadModel,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        default_data_collator,
    )

    settings: Any = make(architectures.card(architecture).settings, {})
    task: Any = architectures.card(architecture).load_task()(settings, torch.device("cpu"), None)
    words = len(task.tokenizer.vocabulary)
    same: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0}
    if architecture == "bert":
        import tokenizers

        config = BertConfig(
            vocab_size=words + 4, hidden_size=settings.width, num_hidden_layers=settings.layers, num_attention_heads=settings.heads,
            intermediate_size=4 * settings.width, max_position_embeddings=settings.block_size, pad_token_id=words,
            hidden_dropout_prob=settings.dropout, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        net: Any = BertForMaskedLM(config)
        names = {str(number): number for number in range(words)} | {
            "[PAD]": words,
            "[MASK]": words + 1,
            "[CLS]": words + 2,
            "[SEP]": words + 3,
        }
        plain = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(names, unk_token="0")),
            mask_token="[MASK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        )  # fmt: skip
        collate: Any = DataCollatorForLanguageModeling(plain, mlm_probability=settings.mask_share)
        text = task.pretraining.train
        ends: tuple[int | None, int | None] = (words + 2, words + 3)
    else:
        net = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=words, n_embd=settings.width, n_layer=settings.layers, n_head=settings.heads, n_positions=settings.block_size,
                resid_pdrop=settings.dropout, embd_pdrop=settings.dropout, attn_pdrop=0.0, **same,
            )
        )  # fmt: skip
        text, ends, collate = task.train, (None, None), labelled(default_data_collator)
    stopwatch: list[Stopwatch] = []

    class Start(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == WARM_UP:
                stopwatch.append(Stopwatch())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=WARM_UP + steps, per_device_train_batch_size=settings.batch, learning_rate=settings.lr,
            weight_decay=settings.weight_decay, max_grad_norm=settings.clip, logging_strategy="no", save_strategy="no", report_to=[],
            use_cpu=True, disable_tqdm=True, optim="adamw_torch_fused",
        )  # fmt: skip
        data = Windows(text, settings.block_size, (WARM_UP + steps) * settings.batch, *ends)
        done = Trainer(model=net, args=arguments, train_dataset=data, data_collator=collate, callbacks=[Start()]).train()
        stopwatch[0].report(steps, done.training_loss)


def labelled(collate: Any) -> Any:
    """For next words the targets are the words themselves; the model shifts them."""
    return lambda rows: (batch := collate(rows)) | {"labels": batch["input_ids"].clone()}


def own_loop(architecture: str, steps: int) -> None:
    """The playground's task, step by step."""
    card = architectures.card(architecture)
    settings = make(card.settings, {"device": "cpu", "steps": WARM_UP + steps, "threads": torch.get_num_threads()})
    task = card.load_task()(settings, prepare(settings), None)
    stopwatch = Stopwatch()
    loss = torch.zeros(())
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            stopwatch = Stopwatch()
        loss = task.train_step()["train_loss"]
        task.step += 1
    stopwatch.report(steps, loss.item())


def main(architecture: str, which: str, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    trainer_loop(architecture, steps) if which == "trainer" else own_loop(architecture, steps)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
