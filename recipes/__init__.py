"""WHAT is compared: one short file a recipe. Nothing here imports torch."""
