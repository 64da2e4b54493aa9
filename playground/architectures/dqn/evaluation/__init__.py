"""How good a policy is: greedy episodes for evaluation, and baselines that are measured in the same episodes."""
