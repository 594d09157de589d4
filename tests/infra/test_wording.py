"""Numbers and the nouns of what they count."""

from royalty.infra.wording import counted


def test_only_one_is_singular() -> None:
    assert [counted(number, "image") for number in (0, 1, 2, 1200)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,200 images",
    ]
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(3, "entry", "entries") == "3 entries"
