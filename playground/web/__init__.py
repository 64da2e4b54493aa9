"""The screen in a browser: a server for this machine alone, and a process of the screen for each page."""

DRIVER = "dlplay.screen.browser:BrowserDriver"
"""What the screen of a page draws with, as TEXTUAL_DRIVER says it."""
