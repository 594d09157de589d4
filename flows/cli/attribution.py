"""The commands `royalty index`, `royalty attribute`, `royalty serve` and `royalty keys`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, SourceOf, working
from royalty.infra.wording import visible

if TYPE_CHECKING:
    from royalty.flows.attribution import IndexResult

index_app = typer.Typer(no_args_is_help=True, help="Index the training images of a model, for attribution.")
keys_app = typer.Typer(no_args_is_help=True, help="Keys of the clients of `royalty serve`.")

Model = Annotated[str, typer.Option(help="Name of the model whose training images are indexed.")]
Version = Annotated[str, typer.Option(help="Version of the model.")]
WORKS = ["royalty.tasks.items.embedding_worker"]


@index_app.command("build")
def build(
    train: SourceOf = None,
    model: Annotated[str | None, typer.Option(help="Name of the model that the images trained.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model; 1 by default.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Embed training images and build their index, in place of an earlier one."""
    from royalty.flows.configuration import load_index_config

    configuration = load_index_config(config, {"train": train, "model": model, "version": version})
    with working(
        None, flow="royalty.flows.attribution", works=WORKS, show_progress=not as_json, configs=[configuration]
    ):
        from royalty.flows.attribution import build_index

        _print_index(build_index(configuration), as_json)


@index_app.command("add")
def add(
    model: Model,
    train: Annotated[Path, typer.Option(help="Training images to add.")],
    version: Version = "1",
    as_json: AsJson = False,
) -> None:
    """Add training images to an index; those that it has stay as they are."""
    with working(None, flow="royalty.flows.attribution", works=WORKS, show_progress=not as_json):
        from royalty.flows.attribution import add_to_index

        _print_index(add_to_index(model, version, train.absolute()), as_json)


@index_app.command("remove")
def remove(
    model: Model,
    version: Version = "1",
    item: Annotated[list[str] | None, typer.Option(help="Id of an item; may be repeated.")] = None,
    contributor: Annotated[str | None, typer.Option(help="Remove all items of this contributor alone.")] = None,
    withdrawn: Annotated[
        bool, typer.Option("--withdrawn", help="Remove all items that were withdrawn by `royalty optout`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove items from an index, so that no later attribution names them."""
    from royalty.flows.configuration import ConfigError
    from royalty.infra.servers.session import configured

    if bool(item or contributor is not None) == withdrawn:
        raise ConfigError("items are removed by `--item ID` and `--contributor NAME`, or by `--withdrawn`; give these")
    configured()
    from royalty.flows.attribution import IndexResult
    from royalty.tasks.attribution.indexing import remove_items, withdraw_items

    if withdrawn:
        changed, _ = withdraw_items(model, version)
    else:
        changed = remove_items(model, version, item or (), contributor)
    _print_index(IndexResult(**changed), as_json)


@index_app.command("compact")
def compact(
    model: Model,
    version: Version = "1",
    relearn: Annotated[
        bool, typer.Option("--relearn", help="Learn the lists anew, as building the index would.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rewrite an index without the items that were removed."""
    from royalty.infra.servers.session import configured

    configured()
    from royalty.flows.attribution import IndexResult
    from royalty.tasks.attribution.indexing import compact_items

    _print_index(IndexResult(**compact_items(model, version, relearn=relearn)), as_json)


@index_app.command("list")
def list_indexes(
    verify: Annotated[bool, typer.Option("--verify", help="Hash all files again.")] = False, as_json: AsJson = False
) -> None:
    """List the indexes."""
    from royalty.infra.pages.terminal import print_table
    from royalty.infra.servers.session import configured

    configured()
    from royalty.tasks.attribution import indexing

    rows = indexing.listed()
    if verify:
        for row in rows:
            indexing.verify(row["model"], row["version"])
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    columns = ("Model", "Version", "Items", "Removed", "Contributors", "Encoder", "Temperature", "MB")
    cells = [
        (
            row["model"],
            row["version"],
            str(row["items"]),
            str(row["removed"] or ""),
            str(row["contributors"]),
            row["encoder"],
            f"{row['temperature']:.3g}",
            f"{row['bytes'] / 1e6:.1f}",
        )
        for row in rows
    ]
    print_table(columns, cells, whole=range(2))


def attribute(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Generated images.")],
    model: Annotated[str | None, typer.Option(help="Model whose index is searched; the only one by default.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="PNG file for a picture of each image beside the training images behind it.")
    ] = None,
    sign_into: Annotated[
        Path | None,
        typer.Option(help="Folder for copies that are signed with the attribution (C2PA)."),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key to sign with (PEM, without a password).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate of the key, and those above it (PEM).")] = None,
    prompt: Annotated[str, typer.Option(help="What the images were generated from; named in the credential.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show which contributors and training images stand behind generated images."""
    from royalty.flows.configuration import ConfigError
    from royalty.infra.servers.session import configured

    if len({sign_into is None, key is None, certificate is None}) > 1 or (prompt and sign_into is None):
        raise ConfigError("images are signed by `--sign-into FOLDER --key FILE --certificate FILE`; give all or none")
    configured()
    from royalty.flows.attribution import attribute as attributed
    from royalty.tasks.attribution.credentials import Signing

    signing = None
    if sign_into is not None and key is not None and certificate is not None:
        signing = Signing(sign_into, key, certificate, prompt)
    answers = attributed(images, model, version, picture, signing)
    if as_json:
        sys.stdout.write(json.dumps(answers) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table

    for answer in answers:
        console.print(f"{answer['file']}  {answer['index']}", markup=False, soft_wrap=True)
        if not answer["attributable"]:
            console.print(f"Not attributable: the nearest training image is {answer['nearest']:.3f} away")
            continue
        console.print(
            f"{answer['effective_items']:.1f} effective training images, at temperature {answer['temperature']:.3g}"
        )
        print_table(
            ("Contributor", "Share"), [(name, f"{share:.1%}") for name, share in answer["contributors"].items()]
        )
        rows = [
            (item["id"][:16], f"{item['share']:.1%}", f"{item['distance']:.3f}", ", ".join(item["contributors"]),
             item["license"], item["date"], str(item["copies"] or ""), item["file_name"])
            for item in answer["items"][:10]
        ]  # fmt: skip
        columns = ("Training image", "Share", "Distance", "Contributor", "License", "Date", "Copies", "File")
        print_table(columns, rows, whole=range(1))
        _print_stated(answer["items"][:10])
    if picture is not None:
        console.print(f"Picture     {picture}", soft_wrap=True)
    if sign_into is not None:
        console.print(f"Signed      {len(answers)} images in {sign_into}", soft_wrap=True)


def credentials(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    anchors: Annotated[
        Path | None, typer.Option(help="Certificates of authorities whose signatures are trusted (PEM).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the Content Credentials of images; exit with 1 if one was tampered with."""
    from royalty.flows.attribution import credentials as read

    rows = read(images, anchors)
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        from royalty.infra.pages.terminal import print_table

        cells = [
            (
                row["file"],
                row["state"],
                row.get("signer", ""),
                ", ".join(row.get("creators", ())),
                "refused" if row.get("refuses_training") else "",
            )
            for row in rows
        ]
        print_table(("File", "State", "Signed by", "Creators", "Training"), cells, whole=range(1))
    if tampered := [row for row in rows if row["state"] == "tampered"]:
        for row in tampered:
            problems = ", ".join(row["problems"])
            sys.stderr.write(visible(f"royalty: {row['file']} does not fit its manifest: {problems}\n"))
        raise typer.Exit(1)


def find(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Works of a rights holder.")],
    model: Annotated[str | None, typer.Option(help="Model whose index is searched; the only one by default.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find out whether works, or images close to them, were trained on, and which outputs they stand behind."""
    from royalty.infra.servers.session import configured

    configured()
    from royalty.flows.attribution import find as found

    works = found(images, model, version)
    if as_json:
        sys.stdout.write(json.dumps(works) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table

    for work in works:
        copies = work["copy_of"]
        if work["contained"]:
            said = "is among the training images"
        elif copies:
            said = f"is a copy of {len(copies)} of the training images"
        else:
            said = "is not among the training images"
        console.print(f"{work['file']} {said} of {work['index']}", markup=False, soft_wrap=True)
        if not work["contained"] and not copies:
            console.print(f"An image that was not trained on is as close to one with probability {work['p_value']:.2g}")
        listed = {item["id"]: item for item in [*work["nearest"], *copies]}
        rows = [
            (
                item["id"][:16],
                f"{item['distance']:.3f}",
                f"{item['similarity']:.2f}" if "similarity" in item else "",
                ", ".join(item["contributors"]),
                item["date"],
                item["file_name"],
                "" if item["earliest"] == item["id"] else item["earliest"][:16],
            )
            for item in listed.values()
        ]
        columns = ("Training image", "Distance", "Similarity", "Contributor", "Date", "File", "Copy of")
        print_table(columns, rows, whole=range(1))
        _print_stated(listed.values())
        if work["outputs"]:
            outputs = [
                (row["attribution"], row["time"][:10], f"{row['share']:.1%}", row["prompt"]) for row in work["outputs"]
            ]
            print_table(("Output", "Day", "Share", "Prompt"), outputs, whole=range(1))


def serve(
    model: Annotated[list[str] | None, typer.Option(help="Model to serve; may be repeated. By default all.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8750,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Value of the `Host` header that is answered, with its port; may be repeated."),
    ] = None,
    max_body: Annotated[int, typer.Option(help="Most MiB of a request.", min=1, max=256)] = 16,
    key: Annotated[Path | None, typer.Option(help="Private key to sign images with (PEM, without a password).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Certificate of the key, and those above it (PEM).")] = None,
) -> None:
    """Serve attributions over HTTP until Ctrl-C."""
    from royalty.flows.configuration import ConfigError
    from royalty.infra.servers.session import configured

    if (key is None) != (certificate is None):
        raise ConfigError("images are signed by `--key FILE --certificate FILE`; give both or none")
    configured()
    from royalty.tasks.attribution.serving import serve_attributions

    serve_attributions(model or (), host, port, allowed_host or (), max_body * 2**20, key, certificate)


@keys_app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Name of the client.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do: attribute, sign, read, audit or metrics; may be repeated.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second, on average.", min=0.001)] = 50.0,
    burst: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 100,
) -> None:
    """Make a key for a client, and print it. It cannot be shown again."""
    from royalty.flows.configuration import ConfigError
    from royalty.infra.attribution.keys import SCOPES

    scopes: list[Any] = scope or ["attribute", "read"]
    if unknown := [name for name in scopes if name not in SCOPES]:
        raise ConfigError(f"a scope is one of {', '.join(SCOPES)}; got {unknown[0]!r}")
    sys.stdout.write(_keys().add(name, scopes, rate=rate, burst=burst) + "\n")


@keys_app.command("list")
def list_keys() -> None:
    """List the clients with keys, without the keys."""
    from royalty.infra.pages.terminal import print_table

    cells = [(key.name, ", ".join(key.scopes), f"{key.rate:g}", str(key.burst)) for key in _keys().listed()]
    print_table(("Client", "Scopes", "A second", "At once"), cells)


@keys_app.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="Name of the client.")]) -> None:
    """Delete the key of a client. A running service refuses it from the next request."""
    _keys().revoke(name)


def _keys() -> Any:
    from royalty.infra.attribution.keys import KeyFile
    from royalty.infra.settings import settings
    from royalty.infra.workspace import make_home

    make_home(settings().root)
    return KeyFile(settings().root / "attribution" / "keys.json")


def _print_stated(items: Iterable[Mapping[str, Any]]) -> None:
    """A line for each training image, with what its source states of it."""
    from royalty.infra.attribution.shards import STATED
    from royalty.infra.pages.terminal import console

    for item in items:
        stated = "; ".join(f"{name.replace('_', ' ')} {item[name]}" for name in STATED if item.get(name))
        if stated:
            console.print(f"{item['id'][:16]}  {stated}", markup=False, soft_wrap=True)


def _print_index(result: IndexResult, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_notes

    removed = f", {result.removed} removed and still on disk" if result.removed else ""
    console.print(f"Index       {result.model} {result.version}: {result.items} items{removed}")
    console.print(f"            of {result.contributors} contributors, by {result.encoder}")
    console.print(f"            Shares have temperature {result.temperature:.3g}")
    print_notes(result.notes)
    if result.copies:
        console.print(f"Copies      {result.copies} items share the place of an earlier one")
    if result.far is not None:
        console.print(f"Far         images more than {result.far:.3f} from all items are not attributed")
    console.print(f"Files       {result.folder}, {result.bytes / 1e6:.1f} MB", soft_wrap=True)
