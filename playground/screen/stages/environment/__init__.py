"""The environment: watch the agent, or play yourself."""
