"""Real examples: points or images, edits by hand, and augmentation."""
