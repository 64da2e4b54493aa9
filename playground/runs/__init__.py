"""Runs: their directory, journal, lock and socket, the process that trains one, and the client that looks at it."""
