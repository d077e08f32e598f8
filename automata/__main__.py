"""`python -m automata`, for where the program is not on the PATH."""

from automata.cli import main

if __name__ == "__main__":
    main()
