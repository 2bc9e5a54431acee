"""Tables and words about a recipe that its page shows below its results: one file a recipe."""
