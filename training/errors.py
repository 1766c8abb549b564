"""Everything that training raises on purpose.

TrainingError
├── PairError        the two photographs make no pairs: no overlap, no CRS, wrong bands, too coarse
├── DatasetError     a folder of pairs is missing, empty or damaged
├── BaselineError    a picture to compare with shows other ground, or not all of it
├── ComparisonError  blind sheets cannot be drawn from these pictures, or scores do not fit their key
├── ImportRefusedError  a super-resolution model cannot become weights for the server
├── RunError         a training run's folder is missing, in use, or holds another run
├── DivergedError    the numbers of a training run are not finite any more
└── StoppedError     a training run was asked to stop, and saved what it had done
"""


class TrainingError(Exception):
    """Root of the tree; its message ends with the way out."""


class PairError(TrainingError):
    """The two photographs make no pairs: no overlap, no CRS, wrong bands, too coarse."""


class DatasetError(TrainingError):
    """A folder of pairs is missing, empty or damaged."""


class BaselineError(TrainingError):
    """A picture to compare with shows other ground, or not all of it."""


class ComparisonError(TrainingError):
    """Blind sheets cannot be drawn from these pictures, or scores do not fit their key."""


class ImportRefusedError(TrainingError):
    """A super-resolution model cannot become weights for the server; the message says why."""


class RunError(TrainingError):
    """A training run's folder is missing, in use, or holds another run."""


class DivergedError(TrainingError):
    """The numbers of a training run are not finite any more; what it had saved before is kept."""


class StoppedError(TrainingError):
    """A training run was asked to stop, and saved what it had done."""
