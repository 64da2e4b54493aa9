"""Runs beside each other: curves in one chart, the settings that differ, and whether a difference is more than luck."""
