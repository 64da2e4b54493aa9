"""The tab's run: its process, what is asked of it, and the bar that shows how it is doing."""
