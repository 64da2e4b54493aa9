"""The Inspect page: the architecture's panels, their options, and the widget that draws each kind of panel."""
