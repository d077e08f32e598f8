"""`python -m automata` is the `automata` command."""

from automata.cli import main

main()
