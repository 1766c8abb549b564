"""The help of every command describes every option in a sentence."""

import click
import pytest

from tileserver.cli.main import main as orthosharp
from training.cli.main import main as orthosharp_train

COMMANDS = [
    pytest.param(command, id=f"{group.name} {name}")
    for group in (orthosharp, orthosharp_train)
    for name, command in group.commands.items()
]


def options_of(command):
    """Return the options that help shows, those of subcommands too."""
    for inner in getattr(command, "commands", {}).values():
        yield from options_of(inner)
    yield from (
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described_in_a_sentence(command):
    assert command.help
    for option in options_of(command):
        assert option.help, option.opts
        assert option.help.endswith("."), option.help
        assert option.help.split()[0] not in ("Of", "In", "Whose", "Which", "What"), option.help
