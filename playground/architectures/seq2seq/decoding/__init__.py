"""From logits to an output: greedy and beam search, and the output to a typed source with all that panels show of it."""
