import io

from rich.console import Console

from training.progress import ProgressBars, time_in_words


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


def test_without_a_terminal_the_time_left_is_told_from_the_first_minute(capsys):
    text, seconds = io.StringIO(), iter(range(0, 10_000, 10))
    with ProgressBars(Console(file=text, width=120), clock=lambda: next(seconds)) as bars:
        for done in range(30):
            bars("fit", done, 600)
    lines = text.getvalue().splitlines()
    assert lines[0] == "fit: 2 of 600, 1 h 40 min left"
    assert len(lines) == 5


def test_time_is_told_in_words():
    assert [time_in_words(s) for s in (3, 170, 7900)] == ["under a minute", "3 min", "2 h 12 min"]


def test_without_a_terminal_a_stage_is_one_line_and_what_is_said_goes_to_standard_output(capsys):
    assert show(terminal=False) == "register: 4 done\n"
    assert capsys.readouterr().out == "half of them changed\n"
