"""The commands `royalty audit`: packs that an auditor verifies without this product, and the keys of checkpoints."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson
from royalty.infra.wording import visible

audit_app = typer.Typer(
    no_args_is_help=True, help="Export the ledger for an auditor, verify an export, and manage the signing key."
)

Expect = Annotated[
    list[str] | None,
    typer.Option("--expect", help="Hash of a statement that you kept, or the file of a checkpoint; may be repeated."),
]


@audit_app.command("export")
def export_pack(
    path: Annotated[Path, typer.Argument(help="New folder, or new file whose name ends with .zip.")],
    as_json: AsJson = False,
) -> None:
    """Write the ledger with what it rests on, its signatures, a page, and a script that verifies all of it."""
    from royalty.flows.languages import chosen_language
    from royalty.infra.audit.pack import write_pack
    from royalty.infra.pages.audit import render_audit
    from royalty.infra.pages.terminal import console
    from royalty.infra.settings import settings
    from royalty.infra.workspace import notary, open_workspace

    render = partial(render_audit, language=chosen_language())
    space = open_workspace(settings())
    packed = write_pack(path, space.ledger, space.artifacts, notary(settings()), render)
    if as_json:
        sys.stdout.write(json.dumps(asdict(packed)) + "\n")
        return
    console.print(f"Pack        {packed.path}", soft_wrap=True, markup=False)
    console.print(f"Contents    {packed.statements} statements, {packed.entries} entries, {packed.acts} acts")
    console.print(f"Head        {packed.head}")
    console.print(f"Acts        {packed.acts_head}")
    for digest in packed.missing:
        console.print(f"Missing     table {digest} is not in this home")


@audit_app.command("verify")
def verify_pack(
    path: Annotated[Path, typer.Argument(help="Folder or zip file that `royalty audit export` wrote.")],
    expect: Expect = None,
    key: Annotated[
        list[Path] | None, typer.Option(help="File of a public key that you trust; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify an audit pack, as its own script does; exit with 1 if anything does not hold."""
    from royalty.infra.audit.verifier import Unreadable, verify
    from royalty.infra.pages.terminal import console
    from royalty.infra.stores.artifacts import StoreError

    try:
        found = verify(path, expect or (), key or ())
    except Unreadable as error:
        raise StoreError(f"cannot verify the audit pack: {error}. Export it again") from error
    if as_json:
        document = {"statements": len(found.heads), "entries": found.entries, "acts": len(found.acts)}
        sys.stdout.write(json.dumps({**document, "notes": found.notes, "problems": found.problems}) + "\n")
    else:
        for note in found.notes:
            console.print(f"Note        {note}", soft_wrap=True, markup=False)
        console.print(f"Verified    {len(found.heads)} statements, {found.entries} entries and {len(found.acts)} acts")
    for problem in found.problems:
        sys.stderr.write(visible(f"royalty: {problem}\n"))
    if found.problems:
        raise typer.Exit(1)


@audit_app.command("training-summary")
def write_training_summary(
    run: Annotated[str, typer.Argument(help="Name of a run, or digest of its credit table.")],
    out: Annotated[Path, typer.Option(help="Markdown file to write.")],
) -> None:
    """Write the public summary of training content of the EU AI Act, as far as the run knows it. No legal advice."""
    from royalty.infra.pages.terminal import console
    from royalty.infra.settings import settings
    from royalty.infra.stores.artifacts import write_whole
    from royalty.infra.workspace import open_workspace
    from royalty.tasks.report.training_summary import OPEN, training_summary

    text = training_summary(open_workspace(settings()), run)
    write_whole(out, text.encode())
    console.print(f"File        {out}", soft_wrap=True, markup=False)
    console.print(f"Open        {text.count(OPEN)} entries are to be stated by the provider")


@audit_app.command("key")
def write_key(path: Annotated[Path, typer.Argument(help="New file for the private key.")]) -> None:
    """Write a new private key that signs checkpoints; set ROYALTY_SIGNING_KEY to its path or its text."""
    from royalty.infra.audit.signing import new_key
    from royalty.infra.pages.terminal import console
    from royalty.infra.settings import settings

    signer = new_key(path, settings().signing_password.get_secret_value())
    console.print(f"Key         {signer.id}, private key in {path}", soft_wrap=True, markup=False)
    console.print(signer.public, end="", markup=False)


@audit_app.command("rotate")
def rotate_key(
    new: Annotated[Path, typer.Argument(help="File of the new private key, from `royalty audit key`.")],
    lost: Annotated[
        bool, typer.Option("--lost", help="The old key is lost, so it cannot sign the new one; verifiers will say so.")
    ] = False,
) -> None:
    """Replace the key that signs checkpoints: the old key signs the new one, which signs from then on."""
    from royalty.infra.audit.signing import load_key
    from royalty.infra.pages.terminal import console
    from royalty.infra.settings import settings
    from royalty.infra.workspace import notary

    notary_ = notary(settings())
    successor = load_key(str(new), settings().signing_password.get_secret_value())
    succession = notary_.ring.succeed(None if lost else notary_.signer, successor)
    said = f"Key         {succession.new} replaces {succession.old}; set ROYALTY_SIGNING_KEY to {new}"
    console.print(said, soft_wrap=True, markup=False)
