"""Calls of `orthosharp` in this process, and what a refusal looks like."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from tileserver.cli.main import main


def call(*arguments: object) -> Result:
    """`orthosharp` with these arguments."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def seed(source: object, output: object, weights: Path, *options: object) -> Result:
    """`orthosharp seed` with a network of the tests."""
    return call("seed", source, output, "--weights", weights, "--runtime", "openvino", *options)


def restore(source: object, output: object, weights: Path, *options: object) -> Result:
    """`orthosharp restore` with a network of the tests."""
    return call("restore", source, output, "--weights", weights, "--runtime", "openvino", *options)


def refused(result: Result, *words: str) -> None:
    """The command left with 2 and said why."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
