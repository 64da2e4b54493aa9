"""The Try it page: where a person acts on the model. One kind for each kind in `engine.stages`."""
