"""Environments: found by their id, wrapped for the agent, stepped in parallel, and their actions and observations named."""
