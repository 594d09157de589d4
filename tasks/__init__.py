"""One Prefect task per stage: load, call one pure function, save, return ids."""
