"""A room that is right on any device, and rooms with one fault each, most of which a CPU does not show."""
