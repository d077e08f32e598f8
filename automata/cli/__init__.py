"""The composition root."""


def main() -> None:
    """What the `automata` program calls."""
    from automata.cli.app import main as run

    run()
