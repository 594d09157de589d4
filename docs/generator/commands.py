"""The reference of the command line, from the Typer app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from product import app
from tables import HEAD, settings_table
from typer.main import get_command

INTRODUCTION = """# Command line

Every command prints a table for people, or JSON for programs with `--json` where it is offered. A command exits with 0
only if it succeeded. Errors that you can fix are one message on standard error and exit code 1.

"""


def commands_page() -> str:
    sections = [_section(path, command) for path, command in _commands("royalty", get_command(app))]
    return HEAD + INTRODUCTION + "\n".join(sections)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Commands that do something, in the order in which help lists them."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _commands(f"{path} {name}", below)


def _section(path: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join([path, *("[OPTIONS]" for _ in options[:1]), *map(_written, arguments)])
    text = f"## `{path}`\n\n{_paragraphs(command.help)}\n\n```text\n{usage}\n```\n"
    if arguments:
        rows = [(f"`{_written(one)}`", one.help or "") for one in arguments]
        text += "\n" + settings_table(("Argument", "Meaning"), rows)
    if options:
        rows = [(_names(one), _meaning(one)) for one in options]
        text += "\n" + settings_table(("Option", "Meaning"), rows)
    return text


def _paragraphs(help_text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (help_text or "").split("\n\n"))


def _written(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 else str(name)


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.is_flag:
        return names
    value = option.name.upper()
    return f"{names} `{value}`" + (", repeatable" if option.multiple else "")


def _meaning(option: Any) -> str:
    required = "Required. " if option.required else ""
    default = "" if option.is_flag or option.default in (None, ()) else f" Default: `{option.default}`."
    return f"{required}{option.help or ''}{default}"
