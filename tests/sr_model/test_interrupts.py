"""Errors that come of Ctrl-C."""

from sr_model.interrupts import is_interrupt


def failed_import(cause: BaseException, attribute: str) -> ImportError:
    error = ImportError("half-loaded")
    setattr(error, attribute, cause)
    return error


def test_an_import_that_was_interrupted_is_told_from_one_that_failed() -> None:
    assert is_interrupt(KeyboardInterrupt())
    assert is_interrupt(failed_import(KeyboardInterrupt(), "__cause__"))
    assert is_interrupt(failed_import(failed_import(KeyboardInterrupt(), "__cause__"), "__context__"))
    assert not is_interrupt(failed_import(OSError("no such library"), "__cause__"))
    assert not is_interrupt(None)
