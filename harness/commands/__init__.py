"""What each word at the door does, once its arguments are read. Imports the rooms, lazily."""
