"""`python -m dlplay` is `dlplay`."""

from dlplay.cli import main

main()
