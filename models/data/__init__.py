"""Training images with their contributors: the set itself, and the sources it is read from."""

from models.data.items import ImageSet, InputError, Splits, item_id, split_items

__all__ = ["ImageSet", "InputError", "Splits", "item_id", "split_items"]
