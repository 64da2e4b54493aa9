"""Datasets: digits, images, points, series and text, files read within limits, and n-gram baselines."""
