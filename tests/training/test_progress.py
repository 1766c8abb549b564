import io

from rich.console import Console

from training.progress import ProgressBars


def show(terminal):
    text = io.StringIO()
    with ProgressBars(Console(file=text, force_terminal=terminal, width=120)) as bars:
        for done in range(5):
            bars("register", done, 4)
        bars.say("half of them changed")
    return text.getvalue()


def test_a_terminal_gets_a_bar_with_lines_above_it():
    shown = show(terminal=True)
    assert "register" in shown
    assert "4/4" in shown
    assert "half of them changed" in shown


def test_without_a_terminal_a_stage_is_one_line_and_what_is_said_goes_to_standard_output(capsys):
    assert show(terminal=False) == "register: 4 done\n"
    assert capsys.readouterr().out == "half of them changed\n"
