"""What is wrong with a run, by rules over what it recorded, and whether the advice helps. Rooms add rules of their own."""
