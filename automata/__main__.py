"""`python -P -m automata`, for where the program is not on the PATH."""

from automata.cli import main
from automata.interpreter import shield_imports

if __name__ == "__main__":
    shield_imports()
    main()
