"""`automata up` as a child of the demo: the same program, which also ends when the demo does."""

from automata.cli import main
from automata.cli.demo.child_process import end_with_stdin

if __name__ == "__main__":
    end_with_stdin()
    main()
