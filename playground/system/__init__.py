"""What the machine does while a run trains: reading it, and the panels and the table that tell it."""
