"""`completion`: what lets a shell complete commands, options and paths."""

from __future__ import annotations

import click

from itl_infer.cli.output import write


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options and paths.

    \b
    itl-infer completion bash >> ~/.bashrc
    itl-infer completion zsh >> ~/.zshrc
    itl-infer completion fish > ~/.config/fish/completions/itl-infer.fish
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None  # click brings all three
    group = click.get_current_context().find_root().command
    script = complete(group, {}, "itl-infer", "_ITL_INFER_COMPLETE").source()
    # click's script for fish ends a description at its first comma.
    script = script.replace('string split ","', 'string split -m 1 ","')
    write(f"{script}\n".encode())
