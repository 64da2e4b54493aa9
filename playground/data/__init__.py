"""Data: digits, images and text, read under bounds, and what needs no net to learn them."""
