"""Characters of fonts by their designers, and an error with its remedy for every font that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.data.credited import read_images
from royalty.models.data.decoding import decode_images
from royalty.models.data.fonts import FontFile, font_files, font_images
from royalty.models.data.listing import Listing
from royalty.models.data.typefaces import license_of
from tests.fonts import (
    save_bitmaps,
    save_compressed,
    save_endless,
    save_font,
    save_overlapping,
    save_symbols,
    save_variable,
)

OFL = "This Font Software is licensed under the SIL Open Font License, Version 1.1."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two faces of Ann in a subfolder, and one of Bob."""
    ann = {"designer": "Ann", "licenseDescription": OFL}
    save_font(tmp_path / "fonts" / "ann" / "Ann-Bold.otf", weight=200, names={**ann, "styleName": "Bold"})
    save_font(tmp_path / "fonts" / "ann" / "Ann.ttf", names=ann)
    save_font(tmp_path / "fonts" / "Bob.TTF", weight=300, names={"designer": " Bob \n Builder "})
    (tmp_path / "fonts" / "README.txt").write_text("not a font")
    return tmp_path / "fonts"


def listed(folder: Path, characters: str = "ABC", *, size: int = 16, **options: object) -> Listing:
    return font_images(font_files(folder), characters=characters, size=size, **{"designers": {}, **options})  # type: ignore[arg-type]


def test_each_character_of_each_face_is_an_image_of_its_designer(folder: Path) -> None:
    listing = listed(folder, "CA")
    assert [entry.contributors for entry in listing.entries] == [("Bob Builder",)] * 2 + [("Ann",)] * 4
    assert [entry.label for entry in listing.entries] == ["C", "A"] * 3
    assert listing.entries[2].text == "C in Test Bold"
    assert listing.entries[2].style == "Bold"
    assert listing.licenses() == {"OFL-1.1": 4, "": 2}
    names, sources = listing.provenance(folder)
    assert names[2] == "Ann-Bold.otf"
    assert sources[2] == "fonts/ann/Ann-Bold.otf, 'C'"
    assert listing.described() == {
        "label": ("C", "A") * 3,
        "text": tuple(entry.text for entry in listing.entries),
        "license": ("",) * 2 + ("OFL-1.1",) * 4,
        "style": ("Regular",) * 2 + ("Bold",) * 2 + ("Regular",) * 2,
    }


def test_glyphs_stand_on_one_baseline_at_one_scale_whatever_other_faces_do(folder: Path) -> None:
    images, ids = decode_images(listed(folder), size=16)
    assert images.shape == (9, 1, 16, 16)
    assert len(set(ids)) == 9
    for image in images[:, 0]:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert (rows[0], rows[-1]) == (2, 13), "three quarters of the square, in its middle"
        assert abs(columns[0] - (15 - columns[-1])) <= 1, "centred"
        assert image.max() == 255
    (folder / "Bob.TTF").unlink()
    alone, alone_ids = decode_images(listed(folder), size=16)
    np.testing.assert_array_equal(alone, images[3:])
    assert alone_ids == ids[3:]


def test_characters_below_the_baseline_and_wide_ones_fit_the_square(tmp_path: Path) -> None:
    from fontTools.ttLib import TTFont

    from tests.fonts import box

    font = TTFont(save_font(tmp_path / "a.ttf", "AB", names={"designer": "Ann"}))
    font["glyf"]["glyph0"] = box(0, 0, 3000, 700)
    font["glyf"]["glyph1"] = box(100, -300, 400, 100)
    font.save(tmp_path / "a.ttf")
    images, _ = decode_images(listed(tmp_path, "AB", size=64), size=64)
    wide, deep = images[:, 0]
    assert np.flatnonzero(wide.any(axis=0)).tolist() == list(range(2, 62))
    assert wide.any(axis=1).sum() == pytest.approx(60 * 700 / 3000, abs=1)
    bottom, top = (np.flatnonzero(image.any(axis=1))[-1] for image in (wide, deep))
    assert top - bottom == pytest.approx(60 * 300 / 3000, abs=1)


def test_sizes_share_the_shape(folder: Path) -> None:
    small, _ = decode_images(listed(folder, size=16), size=16)
    large, _ = decode_images(listed(folder, size=64), size=64)
    reduced = large.reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4))
    assert np.abs(reduced - small[:, 0]).mean() < 4


def test_identical_glyphs_of_two_files_are_one_item_of_both(folder: Path) -> None:
    save_font(folder / "Cy.ttf", names={"designer": "Cy"})
    read = read_images(listed(folder), size=16, validation=0.2, classifier=0.2, seed=0)
    assert read.repeated == 0
    parts = [read.splits.train, read.splits.validation, read.splits.classifier]
    assert sum(len(part) for part in parts) == 9
    shared = [part.membership[:, [0, 2]].all(axis=1).sum() for part in parts]
    assert parts[0].contributors == ("Ann", "Bob Builder", "Cy")
    assert sum(shared) == 3


def test_the_digest_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    first = listed(folder).digest()
    moved = folder.rename(tmp_path / "moved")
    assert listed(moved).digest() == first
    assert listed(moved, "AB").digest() != first
    assert listed(moved, size=32).digest() != first
    save_font(moved / "Bob.TTF", weight=310, names={"designer": "Bob Builder"})
    assert listed(moved).digest() != first


def test_a_part_of_the_listing_has_its_images(folder: Path) -> None:
    listing = listed(folder)
    places = np.array([1, 5, 8])
    part = listing.take(places)
    np.testing.assert_array_equal(decode_images(part, size=16)[0], decode_images(listing, size=16)[0][places])
    assert [entry.label for entry in part.entries] == ["B", "C", "C"]
    assert part.digest() != listing.digest()


def test_designers_are_given_by_family_where_fonts_name_nobody(folder: Path) -> None:
    names = {"familyName": "Both", "designer": "Multiple Designers"}
    save_font(folder / "Both.ttf", weight=400, names=names)
    message = r"Both\.ttf: .* states 'Multiple Designers'; set `designers: \{Both: NAME\}`"
    with pytest.raises(InputError, match=message) as refused:
        listed(folder)
    assert "\n" not in str(refused.value), "one line"
    listing = listed(folder, designers={"Both": "Ann;Dee"})
    assert listing.entries[3].contributors == ("Ann", "Dee")
    assert {entry.contributors for entry in listed(folder, designers={"Test": "Eve", "Both": "Ann"}).entries} == {
        ("Eve",),
        ("Ann",),
    }
    with pytest.raises(InputError, match="no family of these fonts is called 'Bot'; did you mean Both"):
        listed(folder, designers={"Bot": "Ann", "Both": "Ann"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", r"states ''; set `designers: \{Test: NAME\}`"),
        ("various designers", "states 'various designers'"),
        ("Various Artists", "states 'Various Artists'"),
        ("Unknown Designer", "states 'Unknown Designer'"),
        ("N/A", "states 'N/A'"),
        ("NULL", "states 'NULL'"),
        ("Multiple designers; see FONTLOG", "states 'Multiple designers; see FONTLOG'"),
        ("Eve; unknown", "states 'Eve; unknown'"),
        ("\u3164", "states '\u3164'"),
        ("Ve\u3164ra", r"no blank characters, and 'Ve\\u3164ra'"),
        ("???", r"states '\?\?\?'"),
        ("Eve\x07", r"no control characters, and 'Eve\\x07' has '\\x07'; set `designers"),
        ("\x1b[31m", r"no control characters"),
        ("\u202eevE", r"no control characters, and '\\u202eevE' has"),
        ("Eve;Eve", "contributor listed twice in 'Eve;Eve'"),
        (";", "the name of a designer is not empty, got ';'"),
    ],
)
def test_a_designer_without_a_name(tmp_path: Path, name: str, message: str) -> None:
    save_font(tmp_path / "a.ttf", names={"designer": name})
    with pytest.raises(InputError, match=message):
        listed(tmp_path)
    assert listed(tmp_path, designers={"Test": "Eve"}).entries[0].contributors == ("Eve",)


@pytest.mark.parametrize("name", ["Nilla Vari", "Varioustein", "Naomi", "N. Null", "Ünknown Person", "山田太郎", "Nan"])
def test_a_name_that_begins_alike_is_a_name(tmp_path: Path, name: str) -> None:
    save_font(tmp_path / "a.ttf", names={"designer": name})
    assert listed(tmp_path).entries[0].contributors == (name,)


def broken(file: Path) -> Path:
    file.write_bytes(save_font(file, names={"designer": "Ann"}).read_bytes()[:300])
    return file


def not_a_font(file: Path) -> Path:
    file.write_text("no font at all")
    return file


def garbled(file: Path) -> Path:
    """The tables are where they should be, and what the outlines say is not."""
    from fontTools.ttLib import TTFont

    content = bytearray(save_font(file, names={"designer": "Ann"}).read_bytes())
    with TTFont(file) as font:
        table = font.reader.tables["head"]
    content[table.offset : table.offset + table.length] = b"\xff" * table.length
    file.write_bytes(bytes(content))
    return file


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (broken, "cannot be (read as a font|drawn)"),
        (not_a_font, "cannot be read as a font"),
        (garbled, "cannot be (read as a font|drawn)"),
        (save_bitmaps, "holds bitmaps instead of outlines; name a static font"),
        (save_variable, "is variable: it holds a range of faces; name a static font"),
        (save_symbols, "holds symbols, which stand for no Unicode characters"),
        (save_endless, r"cannot be read as a font \(ValueError: it maps 4,294,967,296 characters"),
        (save_overlapping, r"cannot be read as a font \(ValueError: it maps 524,288,000 characters"),
        (save_compressed, r"cannot be read as a font \(ValueError: it is a compressed font of the format woff"),
        (lambda file: save_font(file, "AB", names={"designer": "Ann"}), "has all `characters`, and this one lacks 'C'"),
        (lambda file: save_font(file, blank="B", names={"designer": "Ann"}), "'B' is blank in this font"),
    ],
)
def test_a_font_that_cannot_be_used(folder: Path, write: Callable[[Path], Path], message: str) -> None:
    write(folder / "Bad.ttf")
    with pytest.raises(InputError, match=rf"Bad\.ttf: .*{message}|Bad\.ttf {message}") as refused:
        listed(folder)
    assert "`exclude`" in str(refused.value)
    assert len(listed(folder, exclude=["Bad.*"])) == 9


def test_all_fonts_that_cannot_be_used_are_listed_together(folder: Path) -> None:
    for number in range(12):
        save_font(folder / f"x{number:02}.ttf")
    with pytest.raises(InputError, match=re.escape("12 fonts cannot be used (the first 10 are listed)")) as refused:
        listed(folder)
    assert str(refused.value).count("\n- ") == 10


def test_a_folder_without_fonts_and_patterns_that_leave_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty has no font with the ending \.ttf or \.otf; name a folder with fonts"):
        font_files(tmp_path / "empty")
    with pytest.raises(InputError, match=r"'Dee\*' fits none of 3; correct or remove it"):
        listed(folder, exclude=["Dee*"])
    with pytest.raises(InputError, match="leaves none of 3 fonts; exclude fewer"):
        listed(folder, exclude=["*"])


@pytest.mark.parametrize(
    ("statement", "url", "license_"),
    [
        (OFL, "http://scripts.sil.org/OFL", "OFL-1.1"),
        ("", "https://openfontlicense.org", "OFL-1.1"),
        ("Licensed under the Apache License, Version 2.0", "", "Apache-2.0"),
        ("All rights reserved.", "", "All rights reserved."),
        ("", "https://example.org/eula", "https://example.org/eula"),
        ("x" * 200, "", "x" * 80),
        ("", "", ""),
    ],
)
def test_licenses_are_known_by_their_identifiers(statement: str, url: str, license_: str) -> None:
    assert license_of(statement, url) == license_


def test_a_file_by_itself(folder: Path) -> None:
    files = [FontFile(folder / "Bob.TTF", "Bob.TTF")]
    assert font_images(files, characters="AB", size=8, designers={}).provenance(None)[1] == (
        "Bob.TTF, 'A'",
        "Bob.TTF, 'B'",
    )
