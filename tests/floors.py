"""The floors of the packages, which tests hold against the imports and against the documents."""

# From the ground floor up; each room imports only from rooms below its own floor.
TILESERVER = (
    {"errors"},
    {"names", "tiling"},
    {"setting_types"},
    {"settings", "stages"},
    {"metrics"},
    {"photo"},
    {"archives"},
    {"render"},
    {"cache"},
    {"shared"},
    {"service"},
    {"attribution"},
    {"jobs", "cluster"},
    {"web"},
    {"cli"},
)

TRAINING = (
    {"errors"},
    {"locks", "pages", "processors", "progress"},
    {"measure"},
    {"data"},
    {"pairs"},
    {"fit"},
    {"refine", "evaluate", "compare", "teach"},
    {"export", "importing"},
    {"site"},
    {"cli"},
)

FLOORS = {"tileserver": TILESERVER, "training": TRAINING}
