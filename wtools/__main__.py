"""`python -m wtools`."""

from .cli import main

main()
