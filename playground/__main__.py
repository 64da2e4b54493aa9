"""`python -m playground` is `dlplay`."""

from playground.cli import main

main()
