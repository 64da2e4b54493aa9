"""A GPT-2 or a BERT of the default's size, text and batch, trained by the Trainer of `transformers`. Prints how long it took.

`python -m benchmarks.hf_trainer gpt|bert STEPS THREADS`. Its logging, saving and evaluating are off.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor

from benchmarks.timing import Stopwatch
from playground.architectures import card
from playground.data.text import read_corpus, read_text

SPECIALS = 4


class Windows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Random windows of a text, as many as the steps need."""

    def __init__(self, ids: Tensor, width: int, count: int, labelled: bool) -> None:
        starts = torch.randint(len(ids) - width, (count, 1), generator=torch.Generator().manual_seed(0))
        self.rows = ids[starts + torch.arange(width)]
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self.rows[index]
        return {"input_ids": row, "labels": row} if self.labelled else {"input_ids": row}


def gpt2(settings: Any, vocabulary: int) -> Any:
    """GPT-2's form at our size; dropout where ours is."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=settings.block_size,
            n_embd=settings.width,
            n_layer=settings.layers,
            n_head=settings.heads,
            embd_pdrop=settings.dropout,
            resid_pdrop=settings.dropout,
            attn_pdrop=0.0,
            use_cache=False,
        )
    )


def bert(settings: Any, vocabulary: int) -> Any:
    """BERT's form at our size; dropout where ours is."""
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocabulary + SPECIALS,
            max_position_embeddings=settings.block_size,
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=4 * settings.width,
            hidden_dropout_prob=settings.dropout,
            attention_probs_dropout_prob=0.0,
        )
    )


class Masking:
    """What `DataCollatorForLanguageModeling` does, for ids that no tokenizer of theirs made: 15 %, of them 80/10/10."""

    def __init__(self, vocabulary: int, share: float) -> None:
        self.vocabulary, self.share = vocabulary, share

    def __call__(self, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        ids = torch.stack([row["input_ids"] for row in rows])
        labels = ids.clone()
        chosen = torch.rand(ids.shape) < self.share
        labels[~chosen] = -100
        lots = torch.rand(ids.shape)
        ids[chosen & (lots < 0.8)] = self.vocabulary + 1
        swapped = chosen & (lots >= 0.8) & (lots < 0.9)
        ids[swapped] = torch.randint(self.vocabulary, ids.shape)[swapped]
        return {"input_ids": ids, "labels": labels}


def main(architecture: str, steps: int, threads: int) -> None:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    settings: Any = card(architecture).settings()
    corpus = read_corpus(
        read_text(settings.text),
        settings.tokens,
        vocab_size=settings.vocab_size,
        min_count=settings.min_count,
        minimum=2 * settings.block_size,
    )
    vocabulary = len(corpus.tokenizer.vocabulary)
    windows = Windows(torch.from_numpy(corpus.train), settings.block_size, steps * settings.batch, labelled=architecture == "gpt")

    class Watch(TrainerCallback):  # type: ignore[misc]
        """Starts at the first step and reports after the last."""

        def on_train_begin(self, *args: Any, **more: Any) -> None:
            self.stopwatch = Stopwatch()

        def on_train_end(self, *args: Any, **more: Any) -> None:
            self.stopwatch.report(steps, 0.0)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings.batch,
            max_steps=steps,
            learning_rate=settings.lr,
            warmup_steps=min(settings.warmup, steps),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.clip,
            optim="adamw_torch_fused",
            lr_scheduler_type="cosine" if architecture == "gpt" else "linear",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_num_workers=0,
        )
        model = gpt2(settings, vocabulary) if architecture == "gpt" else bert(settings, vocabulary)
        collator = {} if architecture == "gpt" else {"data_collator": Masking(vocabulary, settings.mask_share)}
        sys.stdout.flush()
        watch = Watch()
        Trainer(model=model, args=arguments, train_dataset=windows, callbacks=[watch], **collator).train()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
