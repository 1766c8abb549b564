"""Everything that the documents name exists: links, paths, rooms, make targets, commands, options and routes."""

import re
from pathlib import Path

import click
import mercantile
import pytest
from click.testing import CliRunner
from floors import FLOORS

from tileserver.cli.main import main as orthosharp
from training.cli.main import main as orthosharp_train

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ARCHITECTURE_PAGE = ROOT / "docs" / "architecture.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
COMMANDS = {"orthosharp": orthosharp, "orthosharp-train": orthosharp_train}

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
CALL = re.compile(r"(?:^|[\s/])(orthosharp(?:-train)?) ([a-z]+)\b([^|#\n]*)")
ADDRESS = re.compile(r"http://127\.0\.0\.1:8000(/[^\"`\s]*)")
PATH = re.compile(r"`((?:tileserver|sr_model|training|tests|benchmarks|docs)/[\w./-]*)`")
MAKE = re.compile(r"^make\b((?: [A-Z_]+=(?:\"[^\"]*\"|\S+))*)((?: [a-z][a-z-]*)*)", re.MULTILINE)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code_of(document):
    """Return the code of a document, fenced or between backticks, with continuation lines joined."""
    pieces = [block or inline for block, inline in CODE.findall(document.read_text())]
    return "\n".join(pieces).replace("\\\n", " ")


def anchors_of(document):
    """Return the anchors that a Markdown renderer gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_somewhere(document):
    for target in LINK.findall(document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


@each_document
def test_paths_exist(document):
    for path in PATH.findall(document.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("package", FLOORS)
def test_documents_name_every_room_in_the_order_of_the_floors(package):
    rooms = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    rooms += [path.stem for path in (ROOT / package).glob("[!_]*.py")]
    floors = [floor & set(rooms) for floor in reversed(FLOORS[package])]
    level_of = {room: level for level, floor in enumerate(floors) for room in floor}

    diagram = re.search(rf"^{package}/.*\n((?:  .*\n)+)", ARCHITECTURE_PAGE.read_text(), re.MULTILINE)
    named = [
        name
        for name in re.findall(r"^  (\w+)(?:/|\.py) ", diagram[1], re.MULTILINE)
        if name not in {"demo", "viewer"}  # folders without code
    ]
    assert sorted(named) == sorted(rooms)
    assert [level_of[name] for name in named] == sorted(level_of.values())

    staircase = re.search(rf"^\* `{package}`: ((?:.+\n)+?)(?=\*|\n)", CONTRIBUTING.read_text(), re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", floor)) for floor in staircase[1].split(">")] == floors


@each_document
def test_make_targets_and_variables_exist(document):
    makefile = (ROOT / "Makefile").read_text()
    for variables, targets in MAKE.findall(code_of(document)):
        for variable in re.findall(r"([A-Z_]+)=", variables):
            assert re.search(rf"\b{variable}\b", makefile), variable
        for target in targets.split():
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@each_document
def test_commands_and_options_exist(document):
    for program, name, rest in CALL.findall(code_of(document)):
        command = COMMANDS[program].commands.get(name)
        assert command is not None, f"{program} {name}"
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        } | {"--help"}
        named = set(re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", rest))
        assert named <= known, f"{program} {name}: {sorted(named - known)}"


@each_document
def test_help_of_every_named_command_can_be_read(document):
    for program, name, _ in CALL.findall(code_of(document)):
        result = CliRunner().invoke(COMMANDS[program], [name, "--help"])
        assert result.exit_code == 0, result.output
        assert isinstance(COMMANDS[program], click.Group)


@each_document
def test_addresses_answer(document, served):
    longitude, latitude, zoom = served.get("/tilejson.json").json()["center"]
    tile = mercantile.tile(longitude, latitude, int(zoom))
    for path in ADDRESS.findall(document.read_text()):
        # MapProxy's placeholders are those of Python's % operator.
        template = re.sub(r"%\(([xyz])\)s", r"{\1}", path)
        answer = served.get(template.format(z=tile.z, x=tile.x, y=tile.y))
        assert answer.status_code == 200, path
