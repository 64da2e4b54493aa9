"""What every widget is drawn with: the base class, rows of cells, colours, text."""
