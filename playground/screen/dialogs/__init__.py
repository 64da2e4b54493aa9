"""What opens over the tab: open a model or run, notes, help, quit, failures, a drawing."""
