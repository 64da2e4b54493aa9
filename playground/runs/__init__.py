"""Runs: their directory, journal, lock and socket, the process that trains one, and the client that connects to it."""
