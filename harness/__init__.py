"""How recipes are planned, run, measured and reported. Kept free of imports: the door is light."""
