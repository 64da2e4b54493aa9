"""The four problems that a recurrent net is trained on: data, loss, held-out metrics and baselines, and what the panels show of them."""
